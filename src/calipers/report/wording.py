"""Sentences and number formats shared by the page and the terminal."""

import math
from statistics import median

from calipers.core.records import Rate, RobustnessReport, RunSpec
from calipers.report.jaws import Jaws, jaws

DASH = "\N{EN DASH}"


def percent(share: float, digits: int = 1) -> str:
    """A share as a percentage with a fixed number of digits; a dash for a share of nothing."""
    if not math.isfinite(share):
        return DASH
    # Only exactly none or all may read as 0 % or 100 %.
    while 0 < share < 1 and digits < 6 and float(f"{100 * share:.{digits}f}") in (0.0, 100.0):
        digits += 1
    return f"{100 * share:.{digits}f} %"


def plain_percent(share: float) -> str:
    """The percentage for running text: 65 %, 65.3 %."""
    return percent(share).replace(".0 %", " %")


def interval(rate: Rate) -> str:
    """The 95 % interval of a rate, in per cent."""
    if not (math.isfinite(rate.low) and math.isfinite(rate.high)):
        return DASH
    return f"{100 * rate.low:.1f} {DASH} {100 * rate.high:.1f}"


def number(value: float | None) -> str:
    """A length to four significant digits; a dash for none."""
    return DASH if value is None else f"{value:.4g}"


def radius(epsilon: float, unit: str) -> str:
    """Epsilon as its user wrote it: pixel radii that are whole grey levels are printed as k/255."""
    levels = epsilon * 255
    if unit == "pixel" and len(f"{epsilon:g}") > 6 and abs(levels - round(levels)) < 1e-6:
        return f"{round(levels)}/255"
    return f"{epsilon:g}"


def seconds(value: float | None) -> str:
    """A time in the unit that suits its size."""
    if value is None or not math.isfinite(value):
        return DASH
    if value >= 3600:
        return f"{int(value // 3600)} h {round(value % 3600 / 60)} min"
    if value >= 60:
        return f"{int(value // 60)} min {int(value % 60)} s"
    if value >= 1:
        return f"{value:.1f} s"
    if value >= 9.995e-4:
        return f"{value * 1e3:.3g} ms"
    return f"{value * 1e6:.3g} µs"


def spent(row: Rate) -> str:
    """A method's time per sample: the median, and the largest where that is another matter (searches that time out)."""
    if row.seconds is None:
        return ""
    unequal = row.slowest is not None and row.slowest >= max(1.0, 10 * row.seconds)
    return seconds(row.seconds) + (f", up to {seconds(row.slowest)}" if unequal else "")


def clipping(spec: RunSpec) -> str:
    """Whether perturbed inputs stay inside a domain."""
    return "unclipped" if spec.domain is None else f"clipped to [{spec.domain[0]:g}, {spec.domain[1]:g}]"


def class_name(spec: RunSpec, label: int) -> str:
    """The class's name, or its number where the data set names none."""
    return spec.class_names[label] if 0 <= label < len(spec.class_names) else str(label)


def caution(report: RobustnessReport) -> str | None:
    """What a reader must know before any number of an unfinished run; None for a complete one."""
    if report.status == "complete":
        return None
    measured = next((row.n for row in report.rates if row.name == "clean"), 0)
    return (
        f"This run is not complete (status: {report.status}). "
        f"The numbers cover {measured} of {report.spec.samples} samples and may change; repeat it with --resume."
    )


def findings(report: RobustnessReport) -> str:
    """The result in one to three sentences."""
    rows = jaws(report)
    clean = next((row for row in report.rates if row.name == "clean" and row.n > 0), None)
    if clean is None:
        return "No sample has been measured yet."
    correct = round(clean.measured * clean.n)
    images, are = ("image", "is") if clean.n == 1 else ("images", "is" if correct == 1 else "are")
    first = f"Of {clean.n} {images} {correct} {are} classified correctly."
    if not rows:
        return f"{first} {_nearest(report)}"
    spec = report.spec
    kind = f"{spec.unit}, {clipping(spec)}"
    if len(rows) == 1:
        at = f"Under {spec.norm} perturbations of {radius(rows[0].epsilon, spec.unit)} ({kind})"
        return f"{first} {at}, {_between(rows[0], spec)} stay correct; {_rest(rows[0])}."
    ends = ", ".join(
        f"{_between(row, spec)} stay correct at {radius(row.epsilon, spec.unit)}"
        if index == 0
        else f"{_between(row, spec)} at {radius(row.epsilon, spec.unit)}"
        for index, row in enumerate((rows[0], rows[-1]))
    )
    widest = max(rows, key=lambda row: row.undecided.measured)
    gap = (
        "At every radius each image is decided by an attack or a proof."
        if widest.undecided.measured <= 0
        else f"The gap is widest at {radius(widest.epsilon, spec.unit)}: {_rest(widest)}."
    )
    return f"{first} Under {spec.norm} perturbations ({kind}), {ends}. {gap}"


def verdict(report: RobustnessReport) -> str:
    """The caution, if there is one, and the findings."""
    return " ".join(part for part in (caution(report), findings(report)) if part is not None)


def _nearest(report: RobustnessReport) -> str:
    """What minimum-norm attacks say where no radius was asked for."""
    spec = report.spec
    correct = [row for row in report.brackets if row.prediction == row.label]
    found = [row.distance for row in correct if row.distance is not None]
    if not found:
        return "No perturbation has been measured yet."
    return (
        f"For {len(found)} of them an adversarial example is known, at a median distance of {median(found):.4g} "
        f"({spec.norm}, {spec.unit}, {clipping(spec)})."
    )


def _between(row: Jaws, spec: RunSpec) -> str:
    low, high = plain_percent(row.certified.measured), plain_percent(row.empirical.measured)
    if not spec.verifiers:
        return f"at most {high} (no verifier ran, so nothing is proven)"
    if not spec.attacks:
        return f"at least {low} (no attack ran; at most {high} are correct as they are)"
    return f"exactly {low}" if row.undecided.measured <= 0 else f"at least {low} and at most {high}"


def _rest(row: Jaws) -> str:
    if row.undecided.measured <= 0:
        return "every image is decided by an attack or a proof"
    return f"for {plain_percent(row.undecided.measured)} neither an attack nor a proof decides"
