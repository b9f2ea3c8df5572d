"""Attacks of other libraries, where they can be imported, as minimum-norm attacks of ours.

They call a model whose every pass is a query of ours. So the nearest of all points they ever look at counts, not what
they return, as in AttackBench, and their passes are counted and end with the budget. Settings are the libraries' own,
apart from what the budget decides and what is written here. Nothing of a peer is kept in this repository.
"""

import importlib
import importlib.util
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import Tensor, nn

from calipers.attacks import MinimumNormAttack
from calipers.attacks.adapters.autoattack import AutoAttackNearest
from calipers.attacks.nearest_query import NearestQuery
from calipers.core.distances import Distance
from calipers.core.seeds import derive_seed

Call = Callable[[nn.Module, Tensor, Tensor], object]

# The libraries import these for logging, pictures and downloads, which the attacks do not use.
UNUSED = ("visdom", "torchvision", "git", "requests")
# adv-lib and foolbox count values in l0, not pixels; on one channel that is the same.
P = {Distance.LINF: math.inf, Distance.L2: 2, Distance.L1: 1, Distance.L0_PIXELS: 0}


class SpentError(Exception):
    """The budget is used up."""


class Watched(nn.Module):
    """What a peer takes for the model."""

    def __init__(self, query: NearestQuery, propagations: int) -> None:
        super().__init__()
        self._query, self._propagations = query, propagations

    def forward(self, x: Tensor) -> Tensor:
        everyone = torch.arange(len(self._query.problem))
        if len(x) != len(everyone):
            raise RuntimeError(f"asks about {len(x)} of {len(everyone)} samples, so its passes cannot be told apart")
        # One pass was spent at the centre, before the attack.
        if int((self._query.forwards + self._query.backwards).max()) + 1 >= self._propagations:
            raise SpentError
        return self._query.logits(x, everyone)


@dataclass(frozen=True)
class Peer:
    """An attack of another library: `call` gets the model, the inputs and their labels."""

    name: str
    distance: Distance
    propagations: int
    call: Call

    @property
    def parameters(self) -> dict[str, Any]:
        return {"propagations": self.propagations}

    @property
    def distances(self) -> frozenset[Distance]:
        return frozenset({self.distance})

    def run(self, query: NearestQuery, seed: int) -> None:
        # The rows are f_y - f_j for all other j, so that y has the only positive sum.
        labels = query.problem.specification.C.sum(1).argmax(1)
        with torch.random.fork_rng(), suppress(SpentError):
            torch.manual_seed(derive_seed(seed, self.name) % 2**31)
            self.call(Watched(query, self.propagations).eval(), query.problem.center, labels)


def imported(name: str) -> Any:
    """A library, with placeholders for what it imports and its attacks do not use. Raises ImportError."""
    missing = [unused for unused in UNUSED if importlib.util.find_spec(unused) is None]
    sys.modules.update({unused: MagicMock(name=unused) for unused in missing})
    try:
        return importlib.import_module(name)
    finally:
        for unused in missing:
            del sys.modules[unused]


def adv_lib(distance: Distance, propagations: int) -> list[Peer]:
    """adv-lib (Rony & Ben Ayed). A step is one forward and one backward pass."""
    lib, p, steps = imported("adv_lib.attacks"), P[distance], propagations // 2
    pgd = importlib.import_module("adv_lib.attacks.auto_pgd")
    found: dict[str, Call] = {"FMN": lambda m, x, y: lib.fmn(m, x, y, norm=p, steps=steps)}
    # In l0 the operator of the l_{2/3} quasi-norm, as the thesis has it.
    operator = 23 if p == 0 else None
    found["PDPGD"] = lambda m, x, y: lib.pdpgd(m, x, y, norm=p, num_steps=steps, proximal_operator=operator)
    if distance is Distance.LINF:
        # The step size that FMN's paper has in linf.
        found["FMN-10"] = lambda m, x, y: lib.fmn(m, x, y, norm=p, steps=steps, α_init=10.0)
    if distance is Distance.L2:
        found["DDN"] = lambda m, x, y: lib.ddn(m, x, y, steps=steps, levels=None)
        found["PDGD"] = lambda m, x, y: lib.pdgd(m, x, y, num_steps=steps)
    if distance in (Distance.L2, Distance.L1):
        name = str(distance)
        found["ALMA"] = lambda m, x, y: lib.alma(m, x, y, distance=name, num_steps=steps)
    if distance is Distance.L0_PIXELS:
        found["sigma-zero"] = lambda m, x, y: lib.sigma_zero(m, x, y, num_steps=steps)
    else:
        # A search over radii, which starts at `reach`; every radius takes `rounds` steps and three passes more.
        reach = {Distance.LINF: 0.1, Distance.L2: 2.0, Distance.L1: 20.0}[distance]
        searches = max(4, min(10, propagations // 50))
        rounds = max(2, (propagations // searches - 3) // 2)
        found["APGD"] = lambda m, x, y: pgd.minimal_apgd(
            m, x, y, norm=p, max_eps=reach, binary_search_steps=searches, n_iter=rounds
        )
    return [Peer(f"adv-lib {name}", distance, propagations, call) for name, call in found.items()]


def foolbox(distance: Distance, propagations: int) -> list[Peer]:
    """FMN, C&W and EAD of foolbox (Rauber et al. 2020); the latter two go on until the budget is spent."""
    lib, attacks = imported("foolbox"), importlib.import_module("foolbox.attacks")
    searches = max(1, min(9, propagations // 100))
    searching = {"binary_search_steps": searches, "steps": max(1, propagations // 2 // searches), "abort_early": False}
    fmn = {Distance.LINF: "LInf", Distance.L2: "L2", Distance.L1: "L1", Distance.L0_PIXELS: "L0"}[distance]
    found = {"FMN": getattr(attacks, f"{fmn}FMNAttack")(steps=propagations // 2)}
    if distance is Distance.L2:
        found["C&W"] = attacks.L2CarliniWagnerAttack(**searching)
    if distance is Distance.L1:
        found["EAD"] = attacks.EADAttack(**searching)

    def run(attack: Any, model: nn.Module, x: Tensor, y: Tensor) -> object:
        bounded = lib.PyTorchModel(model, bounds=(0, 1), device="cpu")
        return attack.run(bounded, x, lib.criteria.Misclassification(y))

    return [Peer(f"foolbox {name}", distance, propagations, partial(run, attack)) for name, attack in found.items()]


def pyautoattack(distance: Distance, propagations: int) -> list[AutoAttackNearest]:
    """FAB, through our adapter: it asks about subsets of a batch, so it gets one image at a time."""
    imported("pyautoattack")
    fab = AutoAttackNearest("fab", propagations)
    return [fab] if distance in fab.distances else []


LIBRARIES: dict[str, Callable[[Distance, int], Sequence[MinimumNormAttack]]] = {
    "adv-lib": adv_lib,
    "foolbox": foolbox,
    "pyautoattack": pyautoattack,
}
