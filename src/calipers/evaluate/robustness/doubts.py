"""Reasons for doubt that show in the records of a run: warnings, each with its evidence."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from calipers.core.results import Remark, Termination
from calipers.core.warnings import SanityWarning
from calipers.evaluate.robustness.plan import proven_at
from calipers.evaluate.robustness.records import Outcome, Question, SampleRecord
from calipers.evaluate.robustness.task import RobustnessTask

# Distances that differ by less are the same.
_NEARER = 0.99

# Samples by method that are broken at one radius.
_Broken = Mapping[str, set[int]]


def doubts(task: RobustnessTask, records: Sequence[SampleRecord]) -> list[SanityWarning]:
    """What a reader of the rates has to know."""
    remarks = _remarks(task, records)
    return [*remarks, *_one_step(task, records), *_blind(task, records), *_unfinished(records)]


_OVERSTATED = ": rates and distances may be overstated"
# Code and wording of what attacks remark about gradients and outputs.
_REMARKS = {
    Remark.NO_GRADIENT: (
        "no-gradient",
        "no gradient reaches the input (does the model detach it, or run under no_grad?), so attacks that follow one "
        f"are blind{_OVERSTATED}",
    ),
    Remark.ZERO_GRADIENT: (
        "zero-gradient",
        "the gradient is exactly zero most of the time (rounding, a threshold, a saturated layer?), so attacks that "
        f"follow it are blind{_OVERSTATED}",
    ),
    Remark.GRADIENT_NOT_FINITE: (
        "non-finite-gradient",
        "the gradient is NaN or infinite at some inputs (a square root, a logarithm or a norm of 0?); attacks went on "
        f"with its finite part, and looked beside these inputs{_OVERSTATED}",
    ),
    Remark.OUTPUT_NOT_FINITE: (
        "non-finite-output",
        "the output is NaN at some inputs that attacks tried; such inputs count as unbroken",
    ),
    Remark.NOT_CONFIRMED: (
        "not-confirmed",
        "what an attack found breaks in its batch but not alone, within rounding of a tie; it counts as unbroken",
    ),
}


def _remarks(task: RobustnessTask, records: Sequence[SampleRecord]) -> Iterator[SanityWarning]:
    """What attacks noticed about gradients, on samples that nobody proved: a failed attack on a proven one is right."""
    proven = proven_at(max(task.epsilons, default=0.0), records)
    attacked = [record for record in records if record.question is Question.ATTACK and record.sample_id not in proven]
    told: dict[str, set[int]] = defaultdict(set)
    for record in attacked:
        for remark in record.message.split("; "):
            told[remark].add(record.sample_id)
    of = len({record.sample_id for record in attacked if record.forwards})
    for remark, (code, message) in _REMARKS.items():
        hit = told[remark]
        if not hit:
            continue
        joined = len(hit & told[Remark.SEARCHED_WITHOUT])
        also = f"; a search without gradients joined for {joined}" if joined else ""
        yield SanityWarning(code, message, f"{len(hit)} of {of} samples{also}")


def _one_step(task: RobustnessTask, records: Sequence[SampleRecord]) -> Iterator[SanityWarning]:
    """One step should never do what many steps do not: one backward pass, and many."""
    spent: dict[str, int] = defaultdict(int)
    for record in records:
        if record.question is Question.ATTACK:
            spent[record.method] = max(spent[record.method], record.backwards)
    one = sorted(method for method, backwards in spent.items() if backwards == 1)
    many = sorted(method for method, backwards in spent.items() if backwards > 1)
    if not (one and many):
        return
    for epsilon in task.epsilons:
        broken = _broken(records, epsilon)
        beyond = {method: broken.get(method, set()) for method in (*one, *many)}
        extra = set().union(*(beyond[method] for method in one)).difference(*(beyond[method] for method in many))
        if extra:
            yield SanityWarning(
                "one-step-stronger",
                f"one step ({', '.join(one)}) breaks samples at epsilon {epsilon:g} that many ({', '.join(many)}) do "
                "not: gradients may be masked, and robustness is lower than the attacks say",
                f"{len(extra)} samples, e.g. {min(extra)}",
            )


def _blind(task: RobustnessTask, records: Sequence[SampleRecord]) -> Iterator[SanityWarning]:
    """Attacks without the model's gradients should never do what attacks with them do not."""
    led = {record.method for record in records if record.question is Question.ATTACK and record.backwards}
    blind = {record.method for record in records if record.question is Question.ATTACK and record.forwards} - led
    if not (led and blind):
        return
    for epsilon in task.epsilons:
        broken = _broken(records, epsilon)
        extra = {s: m for m in sorted(blind) for s in broken.get(m, set())}
        for method in led:
            for sample in broken.get(method, set()):
                extra.pop(sample, None)
        if extra:
            yield _without_gradients(f"break samples at epsilon {epsilon:g} that no attack with gradients does", extra)
    nearest = {(r.method, r.sample_id): r.distance for r in records if _found(r) and r.epsilon is None}
    if not task.epsilons and nearest:
        best: dict[int, float] = defaultdict(lambda: float("inf"))
        for (method, sample), distance in nearest.items():
            if method in led and distance is not None:
                best[sample] = min(best[sample], distance)
        nearer = {s: m for (m, s), d in nearest.items() if m in blind and d is not None and d < _NEARER * best[s]}
        if nearer:
            yield _without_gradients("find nearer examples than all attacks with gradients", nearer)


def _without_gradients(what: str, samples: Mapping[int, str]) -> SanityWarning:
    first = min(samples)
    return SanityWarning(
        "blind-stronger",
        f"attacks without the model's gradients {what}: gradients may be masked, and robustness is lower than the "
        "attacks say",
        f"{len(samples)} samples, e.g. {first} by {samples[first]}",
    )


def _broken(records: Sequence[SampleRecord], epsilon: float) -> _Broken:
    broken: dict[str, set[int]] = defaultdict(set)
    for record in records:
        # The example of a minimum-norm attack holds for every radius from its distance on.
        here = (record.distance or 0.0) <= epsilon if record.epsilon is None else record.epsilon == epsilon
        if _found(record) and here:
            broken[record.method].add(record.sample_id)
    return broken


def _found(record: SampleRecord) -> bool:
    return record.question is Question.ATTACK and record.outcome is Outcome.BROKEN


def _unfinished(records: Sequence[SampleRecord]) -> Iterator[SanityWarning]:
    cut = [record for record in records if record.termination is not Termination.COMPLETED]
    for termination in sorted({record.termination for record in cut}):
        hit = [record for record in cut if record.termination is termination]
        methods = ", ".join(sorted({record.method for record in hit}))
        yield SanityWarning(
            str(termination),
            f"{methods} did not complete ({termination.replace('_', ' ')}); remedy: {termination.remedy}",
            f"{len(hit)} records",
        )
