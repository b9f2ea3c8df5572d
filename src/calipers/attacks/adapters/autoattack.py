"""AutoAttack and its members (Croce & Hein 2020) from pyautoattack, e.g. autoattack:apgd-t or autoattack:standard.

FAB makes the distance small, so it is a minimum-norm attack as well: autoattack:fab, autoattack:fab-t.
"""

import logging
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from calipers.attacks.adapters.library import load, version
from calipers.attacks.adapters.watched import search_balls, search_nearest
from calipers.attacks.attack import ATTACK_LIBRARIES, norm_of
from calipers.attacks.minimum_norm import MINIMUM_NORM_LIBRARIES
from calipers.attacks.nearest_query import NearestQuery
from calipers.attacks.query import Query
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.core.norms import Norm
from calipers.core.registry import Registry

_NORMS = {Norm.LINF: "Linf", Norm.L2: "L2", Norm.L1: "L1"}
_LOG = logging.getLogger("autoattack")

# Module, class and options of every member, as in AutoAttack's standard version; classes it needs at least.
_Member = tuple[str, str, dict[str, Any], int]
MEMBERS: Registry[tuple[_Member, ...]] = Registry("attack of autoattack")
_CE: _Member = ("autopgd_base", "APGDAttack", {"loss": "ce", "n_iter": 100, "logger": _LOG}, 2)
_DLR: _Member = ("autopgd_base", "APGDAttack", {"loss": "dlr", "n_iter": 100, "logger": _LOG}, 3)
_TARGETED: _Member = ("autopgd_base", "APGDAttack_targeted", {"n_iter": 100, "logger": _LOG}, 4)
_FAB: _Member = ("fab_pt", "FABAttack_PT", {"n_iter": 100}, 2)
_FAB_TARGETED: _Member = ("fab_pt", "FABAttack_PT", {"n_iter": 100, "targeted": True}, 2)
_SQUARE: _Member = ("square", "SquareAttack", {"n_queries": 5000, "resc_schedule": False}, 2)
MEMBERS.add("apgd-ce")((_CE,))
MEMBERS.add("apgd-dlr")((_DLR,))
MEMBERS.add("apgd-t")((_TARGETED,))
MEMBERS.add("fab")((_FAB,))
MEMBERS.add("fab-t")((_FAB_TARGETED,))
MEMBERS.add("square")((_SQUARE,))
MEMBERS.add("standard")((_CE, _TARGETED, _FAB_TARGETED, _SQUARE))


@dataclass(frozen=True)
class AutoAttackMember:
    """One attack of AutoAttack with the settings of its standard version, or `standard`: all four of it in turn.

    The losses of apgd-dlr and apgd-t divide by differences to the 3rd and 4th largest logit: they need 3 and 4 classes.
    """

    attack: str

    def __post_init__(self) -> None:
        for module, *_ in MEMBERS[self.attack]:
            load(f"pyautoattack.{module}", "pyautoattack")

    @property
    def name(self) -> str:
        return f"autoattack:{self.attack}"

    @property
    def parameters(self) -> dict[str, Any]:
        members = [
            [kind, {name: value for name, value in options.items() if name != "logger"}]
            for _, kind, options, _ in MEMBERS[self.attack]
        ]
        return {"library": version("pyautoattack"), "members": members}

    @property
    def norms(self) -> frozenset[Norm]:
        return frozenset(_NORMS)

    def run(self, query: Query, seed: int) -> None:
        classes = query.problem.specification.C.shape[2]
        for module, kind, options, least in MEMBERS[self.attack]:
            if classes < least:
                raise InputError(f"attack {self.name!r}: {classes} classes; accepted: {least} or more")
            made = getattr(load(f"pyautoattack.{module}", "pyautoattack"), kind)
            targets = {} if kind in ("APGDAttack", "SquareAttack") else {"n_target_classes": min(9, classes - 1)}
            search_balls(query, seed, self.name, _search(made, query, {**options, **targets}))


def _search(
    kind: Callable[..., Any], query: Query, options: dict[str, Any]
) -> Callable[[nn.Module, Tensor, Tensor, float], Tensor]:
    norm = _NORMS[norm_of(query.problem)]

    def search(model: nn.Module, z: Tensor, label: Tensor, radius: float) -> Tensor:
        # They seed the generators themselves; the draw comes from those that are seeded for this instance.
        made = kind(model, norm=norm, eps=radius, seed=random.getrandbits(31), device=z.device, **options)
        # All of it is written for single precision.
        return made.perturb(z.float(), label)

    return search


@dataclass(frozen=True)
class AutoAttackNearest:
    """FAB (Croce & Hein, Minimally distorted adversarial examples with a fast adaptive boundary attack, 2020).

    It starts at the input, then at random points around it, until the budget is spent or it has started `starts` times.
    An iteration costs about as many passes as there are classes. propagations: the budget, the pass at the centre
    included. iterations: per start. Raises InputError for other members, which search balls.
    """

    attack: str
    propagations: int
    starts: int | None = None
    iterations: int = 100

    def __post_init__(self) -> None:
        _nearest_member(self.attack)
        load("pyautoattack.fab_pt", "pyautoattack")

    @property
    def name(self) -> str:
        return f"autoattack:{self.attack}"

    @property
    def parameters(self) -> dict[str, Any]:
        return {"library": version("pyautoattack"), **asdict(self)}

    @property
    def distances(self) -> frozenset[Distance]:
        return frozenset(Distance(norm.value) for norm in _NORMS)

    def run(self, query: NearestQuery, seed: int) -> None:
        made = load("pyautoattack.fab_pt", "pyautoattack").FABAttack_PT
        others = min(9, query.problem.specification.C.shape[2] - 1)
        targets = range(2, others + 2) if self.attack == "fab-t" else (None,)
        norm = query.problem.distance.norm
        assert norm is not None

        def search(model: nn.Module, z: Tensor, label: Tensor) -> Tensor:
            fab = made(model, norm=_NORMS[norm], n_iter=self.iterations, device=z.device)
            found, start = z.float(), 0
            # Past its budget a pass ends all of it, and the nearest query counts, whichever run it was in.
            while start != self.starts:
                for target in targets:
                    fab.target_class = target
                    found = fab.attack_single_run(z.float(), label, start > 0, target is not None)
                start += 1
            return found

        search_nearest(query, seed, self.name, self.propagations, search)


def _nearest_member(attack: str) -> str:
    known: Registry[str] = Registry("minimum-norm attack of autoattack")
    for name in ("fab", "fab-t"):
        known.add(name)(name)
    return known[attack]


@MINIMUM_NORM_LIBRARIES.add("autoattack")
def nearest(attack: str) -> Callable[[int], AutoAttackNearest]:
    """The minimum-norm attacks of this name, one for every budget."""
    return partial(AutoAttackNearest, _nearest_member(attack))


@ATTACK_LIBRARIES.add("autoattack")
def member(attack: str) -> AutoAttackMember:
    """The attack of this name."""
    return AutoAttackMember(attack)
