"""Box-constrained L-BFGS (Szegedy et al., Intriguing properties of neural networks, 2014)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from calipers.attacks.losses import log_odds
from calipers.attacks.minimum_norm import MINIMUM_NORM_ATTACKS
from calipers.attacks.nearest_query import NearestQuery
from calipers.attacks.recorded import Recorded
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.core.seeds import derive_seed, generator


@dataclass(frozen=True)
class LBFGS(Recorded):
    """Minima of ||r||^2 + c * loss(x + r) over the box for several c, every minimisation by scipy's L-BFGS-B.

    The smallest c whose run breaks x is searched by steps of `factor`, then by bisection of log c (section 4.1). The
    loss is the cross-entropy of "any class that breaks x"; for a target it is that between label and target. Ours: c
    starts where the linearised loss balances the norm at the boundary, runs go on from where the last one ended, and
    what is left of the budget goes to searches from random perturbations. One sample at a time.

    propagations: the budget, the pass at the centre included. runs: minimisations per search. evaluations: at most of
    one minimisation, at a forward and a backward pass each. Raises InputError when run if none fits the budget.
    """

    name: ClassVar[str] = "l-bfgs"
    distances: ClassVar[frozenset[Distance]] = frozenset({Distance.L2})

    propagations: int
    runs: int = 10
    evaluations: int = 30
    factor: float = 10.0

    def run(self, query: NearestQuery, seed: int) -> None:
        if self.propagations < 3:
            raise InputError(
                f"L-BFGS: {self.propagations} propagations; accepted: 3 or more, for the centre and one step"
            )
        for i, sample in enumerate(query.problem.sample_id):
            asked = _Asked(query, i, (self.propagations - 1) // 2)
            try:
                for start in self._starts(query, i, derive_seed(seed, "l-bfgs", sample)):
                    self._search(asked, start)
            except _SpentError:
                continue

    def _starts(self, query: NearestQuery, instance: int, seed: int) -> Iterator[np.ndarray]:
        """The centre, then random perturbations of at most half the width of the domain, without end."""
        shape = query.problem.center.shape[1:]
        yield np.zeros(shape.numel())
        draw = generator(seed)
        width = query.problem.width.cpu().expand(shape).flatten().double().numpy()
        while True:
            yield (torch.rand(shape.numel(), generator=draw, dtype=torch.float64).numpy() - 0.5) * width

    def _search(self, asked: "_Asked", r: np.ndarray) -> None:
        """One search for c, from the perturbation r."""
        from scipy.optimize import minimize  # takes longer to import than all of this package

        c, low, high = asked.balance(), 0.0, np.inf
        for _ in range(self.runs):
            asked.lowest = np.inf
            r = minimize(
                asked.objective,
                np.clip(r, asked.lower, asked.upper),
                args=(c,),
                jac=True,
                method="L-BFGS-B",
                bounds=None if asked.free else list(zip(asked.lower, asked.upper, strict=True)),
                options={"maxfun": self.evaluations},
            ).x
            low, high = (low, c) if asked.broken else (c, high)
            c = c * self.factor if high == np.inf else c / self.factor if low == 0 else np.sqrt(low * high)


class _SpentError(Exception):
    """Ends scipy's minimisation when the budget is spent."""


class _Asked:
    """One sample's objective in float64, as scipy asks for it.

    lowest: the objective's lowest value since it was reset. broken: whether the input there breaks the specification.
    """

    def __init__(self, query: NearestQuery, instance: int, evaluations: int) -> None:
        self._query = query
        self._problem = query.problem[[instance]]
        self._active = query.everyone[[instance]]
        self._left = evaluations
        self.lowest, self.broken = np.inf, False
        self.free = self._problem.domain is None
        ends = (self._problem.clip(torch.full_like(self._problem.center, end)) for end in (-torch.inf, torch.inf))
        self.lower, self.upper = (end.flatten().double().cpu().numpy() for end in ends)

    def objective(self, r: np.ndarray, c: float) -> tuple[float, np.ndarray]:
        """||r||^2 + c * loss and its gradient."""
        rows, slope = self._rows(r)
        value = float(r @ r) + c * float(_entropy(rows))
        if value < self.lowest:
            self.lowest, self.broken = value, bool(rows.amin() <= 0)
        return value, 2 * r + c * slope

    def balance(self) -> float:
        """C at which r = -c / 2 * the loss's gradient, of half the slope it has at the centre, meets the boundary."""
        rows, slope = self._rows(np.zeros_like(self.lower))
        return float(4 * rows.amin().clamp_min(1e-6)) / max(float(slope @ slope), 1e-12)

    def _rows(self, r: np.ndarray) -> tuple[Float[Tensor, "1 rows"], np.ndarray]:
        if not self._left:
            raise _SpentError
        self._left -= 1
        u = torch.from_numpy(r).to(self._problem.center).reshape(self._problem.center.shape)
        rows, gradient = self._query.gradient(self._problem.perturbed(u), self._active, _entropy)
        return rows, (self._problem.scale * gradient).flatten().double().cpu().numpy()


def _entropy(rows: Float[Tensor, "active rows"]) -> Float[Tensor, " active"]:
    """Minus log(1 - p), p being the label's probability among the classes of the rows."""
    return torch.nn.functional.softplus(-log_odds(rows))


MINIMUM_NORM_ATTACKS.add("l-bfgs")(LBFGS)
