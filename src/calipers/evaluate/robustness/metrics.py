"""From records to rates. Only samples on which every method of a row has answered are counted."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import median

from scipy.stats import binomtest

from calipers.core.rates import Rate
from calipers.core.results import Termination
from calipers.core.warnings import SanityWarning
from calipers.evaluate.robustness.doubts import doubts
from calipers.evaluate.robustness.records import Outcome, Question, SampleRecord
from calipers.evaluate.robustness.soundness import check_soundness
from calipers.evaluate.robustness.summary import Bracket, RobustnessSummary
from calipers.evaluate.robustness.task import RobustnessTask


def rate(
    name: str, epsilon: float | None, hits: int, n: int, *, guarantee: bool = False, seconds: float | None = None
) -> Rate:
    """The share of hits among n with a 95 % interval: Wilson; Clopper-Pearson where it is claimed as a guarantee."""
    interval = binomtest(hits, n).proportion_ci(0.95, method="exact" if guarantee else "wilson")
    return Rate(name, epsilon, hits / n, n, float(interval.low), float(interval.high), seconds)


def summarise(
    task: RobustnessTask, records: Sequence[SampleRecord], warnings: Iterable[SanityWarning]
) -> RobustnessSummary:
    """What a run comes to, finished or not. Raises SoundnessError if its records contradict each other."""
    check_soundness(records)
    table = _Table(task, records)
    return RobustnessSummary(
        rates=tuple(table.rates(table.samples)),
        per_class=tuple(
            (label, tuple(table.jaws([s for s in table.samples if table.clean[s].label == label])))
            for label in sorted({record.label for record in table.clean.values()})
        ),
        brackets=tuple(table.bracket(sample) for sample in table.samples),
        warnings=(*warnings, *doubts(task, records)),
    )


class _Table:
    """Records by sample, method and radius; read only."""

    def __init__(self, task: RobustnessTask, records: Sequence[SampleRecord]) -> None:
        self.task = task
        self.clean = {record.sample_id: record for record in records if record.question is Question.CLEAN}
        self.samples = sorted(self.clean)
        self.cells: dict[tuple[Question, str, float | None, int], SampleRecord] = {
            (r.question, r.method, r.epsilon, r.sample_id): r
            for r in records
            if r.question in (Question.ATTACK, Question.VERIFY)
        }
        self.broken: dict[int, list[float]] = defaultdict(list)
        self.proven: dict[int, list[float]] = defaultdict(list)
        # Where certificates were asked for, a proof without evidence that the checker accepts counts for nothing.
        evidence = {(r.sample_id, r.epsilon): r.outcome for r in records if r.question is Question.CERTIFY}
        for record in self.cells.values():
            if record.outcome in (Outcome.BROKEN, Outcome.FALSIFIED):
                radius = record.distance if record.epsilon is None else record.epsilon
                self.broken[record.sample_id].append(radius or 0.0)
            elif record.outcome is Outcome.VERIFIED and (
                not evidence or evidence.get((record.sample_id, record.epsilon)) is Outcome.VERIFIED
            ):
                self.proven[record.sample_id].append(record.epsilon or 0.0)

    def rates(self, samples: list[int]) -> list[Rate]:
        """Every row of the run."""
        rows = self.jaws(samples)
        for epsilon in self.task.epsilons:
            for kind, methods in ((Question.ATTACK, self.task.attacks), (Question.VERIFY, self.task.verifiers)):
                for method in methods:
                    rows += self._method(kind, method.name, epsilon, samples)
        return rows

    def jaws(self, samples: list[int]) -> list[Rate]:
        """Clean accuracy, and empirical, certified and undecided shares at every radius.

        A side that nothing looked at has no row: it was not measured, which is neither clean accuracy nor 0.
        """
        rows = self._rows("clean", None, samples, {s for s in samples if self._correct(s)})
        attacks = [(Question.ATTACK, method.name) for method in self.task.attacks]
        proofs = [(Question.VERIFY, method.name) for method in self.task.verifiers]
        # Searches that prove also find counterexamples, so the upper jaw can be there without attacks.
        above = bool(attacks) or any(self._correct(sample) for sample, found in self.broken.items() if found)
        for epsilon in self.task.epsilons:
            attacked = self._answered(attacks or proofs, epsilon, samples)
            tried = self._answered(proofs, epsilon, samples)
            both = [sample for sample in attacked if sample in set(tried)]
            surviving = {s for s in attacked if self._survives(s, epsilon)}
            proven = {s for s in tried if self._certified(s, epsilon)}
            if above:
                rows += self._rows("empirical", epsilon, attacked, surviving)
            if proofs:
                rows += self._rows("certified", epsilon, tried, proven, guarantee=True)
            if above and proofs:
                rows += self._rows("undecided", epsilon, both, surviving - proven)
        return rows

    def bracket(self, sample: int) -> Bracket:
        clean = self.clean[sample]
        cells = [cell for key, cell in self.cells.items() if key[3] == sample]
        distances = [cell.distance for cell in cells if cell.distance is not None and cell.outcome is Outcome.BROKEN]
        if not self._correct(sample):
            distances.append(0.0)
        return Bracket(
            sample_id=sample,
            label=clean.label,
            prediction=clean.prediction if clean.prediction is not None else -1,
            certified=max(self.proven[sample], default=None),
            distance=min(distances, default=None),
            undecided=tuple(
                e for e in self.task.epsilons if self._survives(sample, e) and not self._certified(sample, e)
            ),
            timed_out=tuple(
                f"{cell.method}{'' if cell.epsilon is None else f' at {cell.epsilon:g}'}: {cell.termination}"
                for cell in cells
                if cell.termination is not Termination.COMPLETED
            ),
        )

    def _method(self, kind: Question, name: str, epsilon: float, samples: list[int]) -> list[Rate]:
        answered = self._answered([(kind, name)], epsilon, samples)
        cells = {s: self._cell(kind, name, epsilon, s) for s in answered}
        spent = [cell.seconds for s, cell in cells.items() if cell is not None and self._correct(s)]
        hits = {s for s, cell in cells.items() if cell is not None and _holds(cell, epsilon)}
        rows = self._rows(f"{kind}:{name}", epsilon, answered, hits, guarantee=kind is Question.VERIFY)
        if not spent:
            return rows
        return [replace(row, seconds=median(spent), slowest=max(spent)) for row in rows]

    def _rows(
        self,
        name: str,
        epsilon: float | None,
        samples: list[int],
        hits: set[int],
        *,
        guarantee: bool = False,
    ) -> list[Rate]:
        """The rate over all samples and, but for clean accuracy, over the correctly classified ones."""
        correct = [sample for sample in samples if self._correct(sample)]
        groups = [("", samples)] if name == "clean" else [("", samples), ("|correct", correct)]
        return [
            rate(name + suffix, epsilon, len(hits.intersection(group)), len(group), guarantee=guarantee)
            for suffix, group in groups
            if group
        ]

    def _answered(self, methods: list[tuple[Question, str]], epsilon: float, samples: list[int]) -> list[int]:
        return [s for s in samples if all(self._cell(*method, epsilon, s) is not None for method in methods)]

    def _cell(self, kind: Question, name: str, epsilon: float, sample: int) -> SampleRecord | None:
        """A method's answer at a radius; that of a minimum-norm attack holds for every radius."""
        return self.cells.get((kind, name, epsilon, sample)) or self.cells.get((kind, name, None, sample))

    def _correct(self, sample: int) -> bool:
        return self.clean[sample].outcome is Outcome.CORRECT

    def _survives(self, sample: int, epsilon: float) -> bool:
        # A smaller ball lies in a larger one: what breaks at a radius breaks at all larger ones.
        return self._correct(sample) and not any(e <= epsilon for e in self.broken[sample])

    def _certified(self, sample: int, epsilon: float) -> bool:
        return any(e >= epsilon for e in self.proven[sample])


def _holds(record: SampleRecord, epsilon: float) -> bool:
    """Whether a method leaves the sample robust at a radius: it survived the attack, or it is proven."""
    if record.outcome is Outcome.BROKEN and record.epsilon is None:
        return (record.distance or 0.0) > epsilon
    return record.outcome in (Outcome.SURVIVED, Outcome.VERIFIED)
