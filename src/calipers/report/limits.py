"""What the numbers of a report mean and what they do not say."""

from collections.abc import Iterator

from calipers.evaluate.robustness.certify import Certificates
from calipers.evaluate.robustness.summary import RobustnessReport
from calipers.evaluate.robustness.task import RobustnessTask
from calipers.report.jaws import both_measured, jaws
from calipers.report.nouns import Nouns
from calipers.report.wording import radius

PROVEN = (
    "Proven means that no evaluation of the network on an input inside the radius gives another class: neither in "
    "exact arithmetic nor in float64 or float32, on any machine and in any order of summation. That is about standard "
    "kernels; Winograd convolutions, TF32 and bf16 are outside."
)
ROUNDING = "docs/bounds.md#rounding"


def certificate_status(found: Certificates | None) -> str:
    """How many proofs are written down and checked, and how many are missing."""
    if found is None:
        return (
            "No proof of this run is written down. With --certify (certify=True) each is kept as a certificate that "
            "calipers check recomputes."
        )
    if found.verified == 0:
        return "Nothing was proven, so there is no certificate."
    missing = found.verified - found.written
    rest = "none is missing" if missing <= 0 else f"{missing} {'is' if missing == 1 else 'are'} missing"
    proofs = "proof is" if found.verified == 1 else "proofs are"
    return (
        f"{found.written} of {found.verified} {proofs} written down as certificates; {rest}. Each was checked "
        "before it was kept, by a program that shares no code with the verifiers."
    )


def _up_to(task: RobustnessTask) -> str:
    return f" up to {radius(max(task.epsilons), task.unit)}" if task.epsilons else ""


def limits(report: RobustnessReport, words: Nouns) -> Iterator[str]:
    """One sentence or two for each thing that a reader might take the numbers for and that they are not."""
    task = report.task
    n = next((row.n for row in report.rates if row.name == "clean"), 0)
    these = f"this one {words.sample}" if n == 1 else f"these {n} {words.samples}"
    yield (
        f"The bounds are about {these} alone. How far they stand for others, the 95 % intervals say, and only if these "
        "were drawn at random from the same source."
    )
    others = "Rotations, blur, other light" if words.pictures else "Missing values, drift, other sources of data"
    yield (
        f"They are about {task.norm} perturbations{_up_to(task)} alone. {others} and every other change are not "
        "measured."
    )
    rows = jaws(report)
    if any(row.empirical is not None for row in rows) or not task.epsilons:
        yield "An attack that finds nothing proves nothing: a stronger one may still lower the upper bound."
    if both_measured(rows) and any(row.open > 0 for row in rows):
        yield (
            f"Undecided {words.samples} are not known to be robust and not known to be fragile. A verifier that "
            "searches, or more time, may decide them."
        )
    yield (
        "The bounds are about this network with these weights (the digest below). Trained again, pruned or quantised "
        "it is another one."
    )
