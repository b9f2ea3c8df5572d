"""The two jaws at one radius, gathered from the rows of a report."""

from dataclasses import dataclass, replace

from calipers.core.records import Rate, RobustnessReport, RunSpec


@dataclass(frozen=True)
class Jaws:
    """Clean, empirical and certified accuracy at one epsilon, and what neither jaw decides."""

    epsilon: float
    clean: Rate
    empirical: Rate
    certified: Rate
    undecided: Rate

    @property
    def broken(self) -> float:
        """Share of the samples that are correct as they are and have a known adversarial example."""
        return max(0.0, self.clean.measured - self.empirical.measured)

    @property
    def wrong(self) -> float:
        """Share of the samples that are misclassified as they are."""
        return max(0.0, 1.0 - self.clean.measured)


def jaws_of(rates: tuple[Rate, ...], spec: RunSpec) -> tuple[Jaws, ...]:
    """Jaws in ascending order of epsilon; radii that an unfinished run has not measured yet are left out.

    Where no verifier ran, the lower jaw is open: nothing is proven, and all that survives is undecided.
    """
    rows = {(rate.name, rate.epsilon): rate for rate in rates if rate.n > 0}
    clean = rows.get(("clean", None))
    if clean is None:
        return ()
    found = []
    for epsilon in sorted(spec.epsilons):
        parts = [rows.get((name, epsilon)) for name in ("empirical", "certified", "undecided")]
        empirical, certified, undecided = parts
        if empirical is not None and not spec.verifiers:
            certified = replace(empirical, name="certified", measured=0.0, low=0.0, high=1.0)
        if empirical is not None and certified is not None:
            left = undecided or _difference(empirical, certified)
            found.append(Jaws(epsilon, clean, empirical, certified, left))
    return tuple(found)


def jaws(report: RobustnessReport) -> tuple[Jaws, ...]:
    """The jaws of all samples at every measured epsilon."""
    return jaws_of(report.rates, report.spec)


def _difference(empirical: Rate, certified: Rate) -> Rate:
    # Per-class rows may leave "undecided" out; the share is exact, the crude interval is not shown anywhere.
    share = max(0.0, empirical.measured - certified.measured)
    return Rate("undecided", empirical.epsilon, share, empirical.n, 0.0, 1.0)
