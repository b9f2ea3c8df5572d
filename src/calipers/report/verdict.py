"""The result of a run in sentences."""

from collections.abc import Sequence
from statistics import median

from calipers.core.warnings import SanityWarning
from calipers.evaluate.robustness.summary import RobustnessReport
from calipers.evaluate.robustness.task import RobustnessTask
from calipers.report.jaws import Jaws, jaws
from calipers.report.nouns import ANYTHING, Nouns
from calipers.report.wording import clipping, interval, plain_percent, radius


def caution(report: RobustnessReport) -> str | None:
    """What a reader must know before any number of an unfinished run; None for a complete one."""
    if report.status == "complete":
        return None
    measured = next((row.n for row in report.rates if row.name == "clean"), 0)
    return (
        f"This run is not complete (status: {report.status}). "
        f"The numbers cover {measured} of {report.task.samples} samples and may change; repeat it with --resume."
    )


def findings(report: RobustnessReport, words: Nouns = ANYTHING) -> str:
    """The result in one to four sentences."""
    rows = jaws(report)
    clean = next((row for row in report.rates if row.name == "clean" and row.n > 0), None)
    if clean is None:
        return "No sample has been measured yet."
    correct = round(clean.measured * clean.n)
    first = f"Of {clean.n} {words.many(clean.n)} {correct} {'is' if correct == 1 else 'are'} classified correctly."
    if not rows:
        return f"{first} {_nearest(report, words)}"
    task = report.task
    kind = f"{words.unit(task.unit)}, {clipping(task)}"
    these = f"of {'this' if clean.n == 1 else 'these'} {clean.n} {words.many(clean.n)} stay correct"
    if len(rows) == 1:
        at = f"Under {task.norm} perturbations of {radius(rows[0].epsilon, task.unit)} ({kind})"
        told = f"{first} {at}, {_between(rows[0])} {these}{_decision(rows[0])}."
    else:
        ends = (
            f"{_between(rows[0])} {these} at {radius(rows[0].epsilon, task.unit)}",
            f"{_between(rows[-1])} at {radius(rows[-1].epsilon, task.unit)}",
        )
        told = f"{first} Under {task.norm} perturbations ({kind}), {', '.join(ends)}.{_widest(rows, task, words)}"
    return " ".join([told, *_missing(report, rows)])


def verdict(report: RobustnessReport, words: Nouns = ANYTHING) -> str:
    """The caution, if there is one, and the findings."""
    return " ".join(part for part in (caution(report), findings(report, words)) if part is not None)


def warning_lines(warnings: Sequence[SanityWarning]) -> list[str]:
    """Sanity warnings, one line each."""
    return [f"warning {warning.code}: {warning.message} ({warning.evidence})" for warning in warnings]


def _nearest(report: RobustnessReport, words: Nouns) -> str:
    """What minimum-norm attacks say where no radius was asked for."""
    task = report.task
    correct = [row for row in report.brackets if row.prediction == row.label]
    found = [row.distance for row in correct if row.distance is not None]
    if not found:
        return "No perturbation has been measured yet."
    return (
        f"For {len(found)} of them an adversarial example is known, at a median distance of {median(found):.4g} "
        f"({task.norm}, {words.unit(task.unit)}, {clipping(task)})."
    )


def _between(row: Jaws) -> str:
    low, high = plain_percent(row.at_least), plain_percent(row.at_most)
    if row.certified is None:
        return f"at most {high}"
    if row.empirical is None:
        return f"at least {low}"
    return low if row.open <= 0 else f"at least {low} and at most {high}"


def _decision(row: Jaws) -> str:
    """What both jaws leave open at the only radius; nothing where one of them is missing."""
    if row.undecided is None:
        return ""
    if row.undecided.measured > 0:
        return f"; for {plain_percent(row.undecided.measured)} neither an attack nor a proof decides"
    # Decided for these samples, an estimate for all others.
    return f", each decided by an attack or a proof (95 % interval for others like them: {interval(row.certified)} %)"


def _widest(rows: Sequence[Jaws], task: RobustnessTask, words: Nouns) -> str:
    closed = [(row.undecided.measured, row.epsilon) for row in rows if row.undecided is not None]
    if not closed:
        return ""
    share, epsilon = max(closed, key=lambda pair: pair[0])
    if share <= 0:
        return f" At every radius each {words.sample} is decided by an attack or a proof." if _whole(rows) else ""
    decides = f"for {plain_percent(share)} neither an attack nor a proof decides"
    return f" The gap is widest at {radius(epsilon, task.unit)}: {decides}."


def _whole(rows: Sequence[Jaws]) -> bool:
    return all(row.undecided is not None for row in rows)


def _missing(report: RobustnessReport, rows: Sequence[Jaws]) -> list[str]:
    """A sentence for each jaw that is not there."""
    some = "at some radii " if any(row.undecided is not None for row in rows) else ""
    ran = "ran" if report.status == "complete" else "has answered yet"
    told = []
    if any(row.certified is None for row in rows):
        told.append(f"The lower bound was {some}not measured: no verifier {ran}, so nothing is proven.")
    if any(row.empirical is None for row in rows):
        told.append(f"The upper bound was {some}not measured: no attack {ran}.")
    return told
