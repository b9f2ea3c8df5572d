"""What a comparison comes to: every model's numbers, and whether the first one's lead is more than chance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from scipy.stats import binomtest

from calipers.core.rates import Rate
from calipers.evaluate.comparison.task import CODEC, ComparisonTask, Contender
from calipers.evaluate.robustness.distances import Distances, distances_of
from calipers.evaluate.robustness.measure import records_of, report_of
from calipers.evaluate.robustness.records import Question, SampleRecord
from calipers.evaluate.robustness.summary import Bracket, RobustnessReport
from calipers.store.store import Store

CLEAN, EMPIRICAL, CERTIFIED = "clean", "empirical", "certified"


@dataclass(frozen=True)
class Standing:
    """One model. nearest: what all minimum-norm attacks found together. attacking, proving: mean seconds per sample."""

    contender: Contender
    report: RobustnessReport
    nearest: Distances | None
    attacking: float | None
    proving: float | None

    @property
    def name(self) -> str:
        return self.contender.name

    def rate(self, name: str, epsilon: float | None) -> Rate | None:
        """A row of its report, over all samples; None where it was not measured."""
        found = (one for one in self.report.rates if (one.name, one.epsilon) == (name, epsilon) and one.n)
        return next(found, None)

    def strongest(self, epsilon: float) -> str | None:
        """The attack that alone leaves the fewest samples; the empirical rate counts all of them together."""
        rates = [one for one in self.report.rates if one.name.startswith("attack:") and one.epsilon == epsilon]
        whole = [one for one in rates if "|" not in one.name]
        # Of equals the last, which is the one that spends the most.
        return min(reversed(whole), key=lambda one: one.measured).name.removeprefix("attack:") if whole else None

    def holds(self, name: str, epsilon: float) -> dict[int, bool]:
        """Sample by sample, whether it counts for a rate: correct, not broken within epsilon, or proven there."""
        return {bracket.sample_id: _COUNTS[name](bracket, epsilon) for bracket in self.report.brackets}


def _right(bracket: Bracket, epsilon: float) -> bool:
    return bracket.prediction == bracket.label


def _survives(bracket: Bracket, epsilon: float) -> bool:
    return _right(bracket, epsilon) and (bracket.distance is None or bracket.distance > epsilon)


def _proven(bracket: Bracket, epsilon: float) -> bool:
    return bracket.certified is not None and bracket.certified >= epsilon


_COUNTS: dict[str, Callable[[Bracket, float], bool]] = {CLEAN: _right, EMPIRICAL: _survives, CERTIFIED: _proven}


@dataclass(frozen=True)
class Lead:
    """The model with the highest rate and the one after it, on the same samples.

    only_first, only_second: samples that count for one of them alone. p: of McNemar's exact test, two-sided: how
    likely so uneven a split is if both are equally good.
    """

    rate: str
    epsilon: float
    first: str
    second: str
    only_first: int
    only_second: int
    p: float


@dataclass(frozen=True)
class Comparison:
    """Models in the order in which they were given. task: what was asked. leads: by radius, for both jaws."""

    run_id: str
    command: str
    created: str
    status: str
    seconds: float
    task: ComparisonTask
    standings: tuple[Standing, ...]

    @property
    def epsilons(self) -> tuple[float, ...]:
        return self.task.contenders[0].task.epsilons

    def lead(self, rate: str, epsilon: float) -> Lead | None:
        """Who is first; None where fewer than two models have the rate."""
        measured = [(one, found) for one in self.standings if (found := one.rate(rate, epsilon)) is not None]
        if len(measured) < 2:
            return None
        (first, _), (second, _) = sorted(measured, key=lambda pair: -pair[1].measured)[:2]
        return _lead(rate, epsilon, first, second)


def _lead(rate: str, epsilon: float, first: Standing, second: Standing) -> Lead:
    one, two = first.holds(rate, epsilon), second.holds(rate, epsilon)
    shared = sorted(one.keys() & two.keys())
    only = [sum(a[s] and not b[s] for s in shared) for a, b in ((one, two), (two, one))]
    return Lead(rate, epsilon, first.name, second.name, only[0], only[1], mcnemar(only[0], only[1]))


def mcnemar(one: int, two: int) -> float:
    """The exact two-sided test of McNemar 1947: how likely fair coins split one + two so unevenly or more."""
    return float(binomtest(one, one + two).pvalue) if one + two else 1.0


def comparison_of(store: Store, run_id: str) -> Comparison:
    """A comparison as far as it is done, from the runs of its models."""
    found = store.run(run_id)
    task = ComparisonTask.from_dict(found.task)
    standings = tuple(
        _standing(store, task.contenders[one.number], one.run_id) for one in store.records(found.run_id, CODEC)
    )
    return Comparison(found.run_id, found.command, found.created, found.status, found.seconds, task, standings)


def leads(comparison: Comparison) -> list[Lead]:
    """Of both jaws at every radius."""
    places = product(comparison.epsilons, (CERTIFIED, EMPIRICAL))
    return [lead for epsilon, rate in places if (lead := comparison.lead(rate, epsilon)) is not None]


def _standing(store: Store, contender: Contender, run_id: str) -> Standing:
    records = records_of(store, run_id)
    distances = distances_of(contender.task, records)
    samples = contender.task.samples
    spent = [_seconds(records, question, samples) for question in (Question.ATTACK, Question.VERIFY)]
    return Standing(contender, report_of(store, run_id), distances[-1] if distances else None, spent[0], spent[1])


def _seconds(records: Sequence[SampleRecord], question: Question, samples: int) -> float | None:
    spent = [record.seconds for record in records if record.question is question]
    return sum(spent) / samples if spent else None
