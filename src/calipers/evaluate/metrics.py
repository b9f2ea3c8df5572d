"""From records to rates. Only samples on which every method of a row has answered are counted."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import median

from scipy.stats import binomtest

from calipers.core.records import Bracket, Kind, Outcome, Rate, RobustnessReport, RunSpec, SampleRecord, SanityWarning
from calipers.core.results import Termination
from calipers.evaluate.doubts import doubts
from calipers.evaluate.soundness import check_soundness
from calipers.store.store import StoredRun


def rate(
    name: str, epsilon: float | None, hits: int, n: int, *, guarantee: bool = False, seconds: float | None = None
) -> Rate:
    """The share of hits among n with a 95 % interval: Wilson; Clopper-Pearson where it is claimed as a guarantee."""
    interval = binomtest(hits, n).proportion_ci(0.95, method="exact" if guarantee else "wilson")
    return Rate(name, epsilon, hits / n, n, float(interval.low), float(interval.high), seconds)


def summarise(run: StoredRun, records: Sequence[SampleRecord], checks: Iterable[SanityWarning]) -> RobustnessReport:
    """The report of a run, finished or not. Raises SoundnessError if its records contradict each other."""
    check_soundness(records)
    table = _Table(run.spec, records)
    return RobustnessReport(
        run_id=run.run_id,
        spec=run.spec,
        command=run.command,
        created=run.created,
        seconds=run.seconds,
        status=run.status,
        rates=tuple(table.rates(table.samples)),
        per_class=tuple(
            (label, tuple(table.jaws([s for s in table.samples if table.clean[s].label == label])))
            for label in sorted({record.label for record in table.clean.values()})
        ),
        brackets=tuple(table.bracket(sample) for sample in table.samples),
        warnings=(*checks, *doubts(run.spec, records)),
    )


class _Table:
    """Records by sample, method and radius; read only."""

    def __init__(self, spec: RunSpec, records: Sequence[SampleRecord]) -> None:
        self.spec = spec
        self.clean = {record.sample_id: record for record in records if record.kind is Kind.CLEAN}
        self.samples = sorted(self.clean)
        self.cells: dict[tuple[Kind, str, float | None, int], SampleRecord] = {
            (r.kind, r.method, r.epsilon, r.sample_id): r for r in records if r.kind is not Kind.CLEAN
        }
        self.broken: dict[int, list[float]] = defaultdict(list)
        self.proven: dict[int, list[float]] = defaultdict(list)
        for record in self.cells.values():
            if record.outcome in (Outcome.BROKEN, Outcome.FALSIFIED):
                radius = record.distance if record.epsilon is None else record.epsilon
                self.broken[record.sample_id].append(radius or 0.0)
            elif record.outcome is Outcome.VERIFIED:
                self.proven[record.sample_id].append(record.epsilon or 0.0)

    def rates(self, samples: list[int]) -> list[Rate]:
        """Every row of the run."""
        rows = self.jaws(samples)
        for epsilon in self.spec.epsilons:
            for kind, methods in ((Kind.ATTACK, self.spec.attacks), (Kind.VERIFY, self.spec.verifiers)):
                for method in methods:
                    rows += self._method(kind, method.name, epsilon, samples)
        return rows

    def jaws(self, samples: list[int]) -> list[Rate]:
        """Clean accuracy, and empirical, certified and undecided shares at every radius.

        Without verifiers nothing is certified or decided, and those rows are absent: a share that was not measured is
        not 0. Without attacks clean accuracy bounds the empirical one.
        """
        rows = self._rows("clean", None, samples, {s for s in samples if self._correct(s)})
        for epsilon in self.spec.epsilons:
            attacks = [(Kind.ATTACK, method.name) for method in self.spec.attacks]
            proofs = [(Kind.VERIFY, method.name) for method in self.spec.verifiers]
            attacked, tried = self._answered(attacks, epsilon, samples), self._answered(proofs, epsilon, samples)
            both = [sample for sample in attacked if sample in set(tried)]
            surviving = {s for s in attacked if self._survives(s, epsilon)}
            proven = {s for s in tried if self._certified(s, epsilon)}
            rows += self._rows("empirical", epsilon, attacked, surviving)
            if not proofs:
                continue
            rows += self._rows("certified", epsilon, tried, proven, guarantee=True)
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
                e for e in self.spec.epsilons if self._survives(sample, e) and not self._certified(sample, e)
            ),
            timed_out=tuple(
                f"{cell.method}{'' if cell.epsilon is None else f' at {cell.epsilon:g}'}: {cell.termination}"
                for cell in cells
                if cell.termination is not Termination.COMPLETED
            ),
        )

    def _method(self, kind: Kind, name: str, epsilon: float, samples: list[int]) -> list[Rate]:
        answered = self._answered([(kind, name)], epsilon, samples)
        cells = {s: self._cell(kind, name, epsilon, s) for s in answered}
        spent = [cell.seconds for s, cell in cells.items() if cell is not None and self._correct(s)]
        hits = {s for s, cell in cells.items() if cell is not None and _holds(cell, epsilon)}
        rows = self._rows(f"{kind}:{name}", epsilon, answered, hits, guarantee=kind is Kind.VERIFY)
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

    def _answered(self, methods: list[tuple[Kind, str]], epsilon: float, samples: list[int]) -> list[int]:
        return [s for s in samples if all(self._cell(*method, epsilon, s) is not None for method in methods)]

    def _cell(self, kind: Kind, name: str, epsilon: float, sample: int) -> SampleRecord | None:
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
