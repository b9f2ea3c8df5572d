"""The two jaws at one radius, gathered from the rows of a report."""

from dataclasses import dataclass

from calipers.core.rates import Rate
from calipers.evaluate.robustness.summary import RobustnessReport
from calipers.evaluate.robustness.task import RobustnessTask


@dataclass(frozen=True)
class Jaws:
    """Clean, empirical and certified accuracy at one epsilon, and what neither jaw decides.

    A jaw that has not been measured is None: no attack or no verifier ran, or not yet. At least one is there.
    """

    epsilon: float
    clean: Rate
    empirical: Rate | None
    certified: Rate | None
    undecided: Rate | None

    @property
    def at_most(self) -> float:
        """Upper bound on the robust share of the samples."""
        return self.clean.measured if self.empirical is None else self.empirical.measured

    @property
    def at_least(self) -> float:
        """Lower bound on the robust share of the samples."""
        return 0.0 if self.certified is None else self.certified.measured

    @property
    def open(self) -> float:
        """Share between the bounds: undecided where both jaws were measured, else not looked at from one side."""
        return max(0.0, self.at_most - self.at_least)

    @property
    def broken(self) -> float:
        """Share of the samples that are correct as they are and have a known adversarial example."""
        return max(0.0, self.clean.measured - self.at_most)

    @property
    def wrong(self) -> float:
        """Share of the samples that are misclassified as they are."""
        return max(0.0, 1.0 - self.clean.measured)


def jaws_of(rates: tuple[Rate, ...], task: RobustnessTask) -> tuple[Jaws, ...]:
    """Jaws in ascending order of epsilon; radii that an unfinished run has not measured yet are left out.

    Where no verifier ran, the lower jaw is open: nothing is proven, and all that survives is undecided.
    """
    rows = {(rate.name, rate.epsilon): rate for rate in rates if rate.n > 0}
    clean = rows.get(("clean", None))
    if clean is None:
        return ()
    found = []
    for epsilon in sorted(task.epsilons):
        empirical, certified, undecided = (
            rows.get((name, epsilon)) for name in ("empirical", "certified", "undecided")
        )
        if empirical is not None and certified is not None:
            # Per-class rows may leave "undecided" out.
            found.append(Jaws(epsilon, clean, empirical, certified, undecided or _difference(empirical, certified)))
        elif empirical is not None or certified is not None:
            found.append(Jaws(epsilon, clean, empirical, certified, None))
    return tuple(found)


def jaws(report: RobustnessReport) -> tuple[Jaws, ...]:
    """The jaws of all samples at every measured epsilon."""
    return jaws_of(report.rates, report.task)


def both_measured(rows: tuple[Jaws, ...]) -> bool:
    """Whether samples were looked at from both sides at every radius."""
    return bool(rows) and all(row.undecided is not None for row in rows)


def _difference(empirical: Rate, certified: Rate) -> Rate:
    # The share is exact, the crude interval is not shown anywhere.
    share = max(0.0, empirical.measured - certified.measured)
    return Rate("undecided", empirical.epsilon, share, empirical.n, 0.0, 1.0)
