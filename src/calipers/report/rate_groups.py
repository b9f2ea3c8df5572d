"""The rates of a report in the order in which they are read: radius by radius, the jaws before the methods."""

from dataclasses import dataclass

from calipers.core.rates import Rate
from calipers.evaluate.robustness.summary import RobustnessReport

CORRECT = "|correct"
JAWS = ("empirical", "certified", "undecided")
HEADLINES = ("clean", *JAWS)


@dataclass(frozen=True)
class NamedRate:
    """A row of a table of rates. rate: None for a jaw that was not measured."""

    name: str
    rate: Rate | None

    @property
    def headline(self) -> bool:
        """Whether it is clean accuracy or a jaw, not one method's own."""
        return self.name in HEADLINES


@dataclass(frozen=True)
class RateGroup:
    """The rows at one epsilon; None stands for the unperturbed samples."""

    epsilon: float | None
    rows: tuple[NamedRate, ...]


def rate_groups(report: RobustnessReport, correct: bool = False) -> tuple[RateGroup, ...]:
    """The rates over all samples, or over the correctly classified alone, under their names without that suffix.

    Radii of which nothing is known yet are left out.
    """
    rates = [rate for rate in report.rates if rate.name.endswith(CORRECT) == correct]
    groups = (_group(rates, epsilon) for epsilon in (None, *sorted(report.task.epsilons)))
    return tuple(group for group in groups if group.rows)


def _group(rates: list[Rate], epsilon: float | None) -> RateGroup:
    found = {rate.name.removesuffix(CORRECT): rate for rate in rates if rate.epsilon == epsilon}
    first = () if not found else ("clean",) if epsilon is None else JAWS
    rows = [NamedRate(name, found.get(name)) for name in first]
    rows += [NamedRate(name, rate) for name, rate in found.items() if name not in first]
    return RateGroup(epsilon, tuple(rows))
