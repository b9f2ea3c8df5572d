"""Repair as published, to compare with: the change of the weights that brings decision values nearest to wanted ones.

Guidotti & Leofante, "Repair of Convolutional Neural Networks using Convex Optimization: Preliminary Experiments",
equation 3: min sum |Gamma| + C sum delta subject to |(W + Gamma) x - y| <= delta for every adversarial sample x, in
feature space. The paper has C = 1. It fits decision values and not their order: a sample may still be wrong afterwards.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from calipers.core.errors import InputError
from calipers.core.tracker import Part, Silent, Tracker
from calipers.core.warnings import SanityWarning
from calipers.solve.columns import Dense, Goal, least_absolute

# One class of the programme: features, what the outputs lack, the price of what is left -> the change and its cost.
Solver = Callable[[np.ndarray, np.ndarray, float, Tracker], tuple[np.ndarray, float]]


@dataclass(frozen=True, eq=False)
class FittedChange:
    """The change Gamma, and what is left of |(W + Gamma) x - y|: delta. objective: of the programme."""

    change: Float[np.ndarray, "outputs inputs"]
    delta: Float[np.ndarray, "samples outputs"]
    objective: float


def by_columns(features: np.ndarray, lacking: np.ndarray, price: float, tracker: Tracker) -> tuple[np.ndarray, float]:
    """One class by column generation on HiGHS."""
    cost = np.full(len(lacking), price)
    found = least_absolute(Dense(features), Goal(lacking, cost, cost), tracker)
    change = np.zeros(features.shape[1])
    change[found.index] = found.value
    return change, found.objective


def of_one_sample(feature: np.ndarray, lacking: float, price: float) -> tuple[np.ndarray, float]:
    """The closed form for one sample: all change goes to its largest feature, if that is worth its cost; else none."""
    change = np.zeros(len(feature))
    largest = int(np.abs(feature).argmax())
    if price * abs(feature[largest]) <= 1:
        return change, price * abs(lacking)
    change[largest] = lacking / feature[largest]
    return change, abs(change[largest])


def fitted_change(
    weight: Float[np.ndarray, "outputs inputs"],
    features: Float[np.ndarray, "samples inputs"],
    wanted: Float[np.ndarray, "samples outputs"],
    price: float = 1.0,
    may_change: Bool[np.ndarray, " inputs"] | None = None,
    solver: Solver = by_columns,
    tracker: Tracker | None = None,
) -> FittedChange:
    """Equation 3, which is one programme per class. price: C. may_change: inputs whose weights may (None: all).

    Raises InputError for a price that is not positive and for a selection of none.
    """
    if not price > 0:
        raise InputError(f"repair: the price of a deviation is {price:g}; accepted: a positive number")
    free = np.ones(features.shape[1], dtype=bool) if may_change is None else may_change
    if not free.any():
        raise InputError("repair: no feature was selected, so no weight may change; accepted: at least one")
    lacking = wanted - features @ weight.T
    change, objective = np.zeros_like(weight), 0.0
    for output in range(len(weight)):
        part = Part(tracker or Silent(), output, f"output {output + 1} of {len(weight)}")
        row, cost = solver(features[:, free], lacking[:, output], price, part)
        change[output, free] = row
        objective += cost
    return FittedChange(change, np.abs(features @ (weight + change).T - wanted), objective)


def idle_warning(
    features: Float[np.ndarray, "samples inputs"], price: float, change: Float[np.ndarray, "outputs inputs"]
) -> SanityWarning | None:
    """What to say where equation 3 changed nothing: paying for deviations is cheaper than removing them."""
    if change.any():
        return None
    largest = float(np.abs(features).max(initial=0.0))
    return SanityWarning(
        "idle-repair",
        f"equation 3 changed nothing: a deviation costs {price:g}, which is less than what its removal costs",
        f"the largest feature is {largest:g}; with one sample nothing changes up to a price of 1 / {largest:g}",
    )
