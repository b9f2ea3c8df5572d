"""The least change of a layer under which all requirements hold, by cutting planes.

Kelley 1960: every requirement is an intersection of many linear constraints, of which it hands out the violated ones;
the programme grows by these and is solved again from where it was, until none is violated.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from calipers.core.errors import CalipersError
from calipers.core.tracker import Part, Silent, Tracker
from calipers.repairs.layers import Cut
from calipers.repairs.objectives import Objective
from calipers.repairs.quadratic import Clash
from calipers.repairs.requirements import Requirement
from calipers.repairs.rows import Rows, no_rows

# Rounds of cuts. The largest repair of the benchmarks takes 25.
ROUNDS = 200
# The share of a margin that ends the search: the last percents would take most of the rounds.
_FLOOR = 0.5


class InfeasibleError(CalipersError):
    """No change of the layer fulfils what is asked. samples: an irreducible set of those that clash."""

    def __init__(self, message: str, samples: Sequence[int]) -> None:
        super().__init__(message)
        self.samples = tuple(samples)


@dataclass(frozen=True, eq=False)
class Change:
    """A change of a layer. rows: of the last programme. active: of these hold with equality. rounds: of cuts."""

    change: Float[np.ndarray, "outputs inputs"]
    rows: int
    active: int
    rounds: int


def least_change_for(
    cut: Cut, requirements: Sequence[Requirement], objective: Objective, tracker: Tracker | None = None
) -> Change:
    """The least change in the objective.

    Raises InfeasibleError where samples clash, and CalipersError where `ROUNDS` rounds do not end it.
    """
    tracker = tracker or Silent()
    found = _solved(cut, requirements, objective, tracker)
    if isinstance(found, Change):
        return found
    which = _irreducible(cut, requirements, objective, found, tracker)
    raise InfeasibleError(_clash_text(which), which)


@dataclass(frozen=True, eq=False)
class _Only:
    """A requirement on some of its samples."""

    of: Requirement
    samples: Sequence[int]

    @property
    def margin(self) -> float:
        return self.of.margin

    def __len__(self) -> int:
        return len(self.samples)

    def violated(self, cut: Cut, weight: Float[np.ndarray, "outputs inputs"], floor: float) -> Rows:
        """See `Requirement`."""
        rows = self.of.violated(cut, weight, floor)
        return rows[np.isin(rows.sample, self.samples)]


def _solved(
    cut: Cut, requirements: Sequence[Requirement], objective: Objective, tracker: Tracker
) -> Change | Sequence[int]:
    """The change, or samples whose rows so far clash."""
    rows, solution = no_rows(*cut.weight.shape), None
    change = np.zeros_like(cut.weight)
    for number in range(ROUNDS):
        tracker.advance(f"cuts, round {number + 1}, {len(rows)} rows", number)
        more = _violated(cut, requirements, cut.weight + change)
        if not len(more):
            return Change(change, len(rows), 0 if solution is None else len(solution.active), number)
        rows = rows.joined(more)
        found = objective.least_change(rows, solution, Part(tracker, number, f"round {number + 1}"))
        if isinstance(found, Clash):
            return sorted(set(rows.sample[found.rows].tolist()))
        solution, change = found, found.change
    raise CalipersError(
        f"repair: {ROUNDS} rounds of cuts left {len(more)} rows unmet; accepted: a smaller radius or margin"
    )


def _irreducible(
    cut: Cut, requirements: Sequence[Requirement], objective: Objective, clash: Sequence[int], tracker: Tracker
) -> Sequence[int]:
    """Samples that clash, though they would not without any one of them: each is left out in turn (Chinneck 1991)."""
    for sample in tuple(clash):
        rest = [one for one in clash if one != sample]
        if sample not in clash or not rest:
            continue
        found = _solved(cut, [_Only(one, rest) for one in requirements], objective, tracker)
        if not isinstance(found, Change):
            clash = found
    return clash


def _violated(cut: Cut, requirements: Sequence[Requirement], weight: np.ndarray) -> Rows:
    found = no_rows(*cut.weight.shape)
    for requirement in requirements:
        found = found.joined(requirement.violated(cut, weight, _FLOOR))
    return found


def _clash_text(which: Sequence[int]) -> str:
    names = ", ".join(map(str, which[:20])) + (f" and {len(which) - 20} more" if len(which) > 20 else "")
    if len(which) == 1:
        return (
            f"repair: no change of this layer fulfils what is asked of sample {names} alone; accepted: a smaller "
            "radius or margin, or an earlier layer"
        )
    return (
        f"repair: no change of this layer fulfils what is asked of samples {names} together, and leaving out any one "
        "of them would do; accepted: without one of them, a smaller radius or margin, or an earlier layer"
    )
