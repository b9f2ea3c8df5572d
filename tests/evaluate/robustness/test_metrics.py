import dataclasses
from typing import Any

import pytest
from scipy.stats import norm

from calipers.core.errors import SoundnessError
from calipers.core.results import Termination
from calipers.core.tasks import Run
from calipers.evaluate.robustness.metrics import rate, summarise
from calipers.evaluate.robustness.records import Outcome, Question, SampleRecord
from calipers.evaluate.robustness.soundness import check_soundness
from calipers.evaluate.robustness.summary import RobustnessReport
from tests.tasks import TASK

LARGE, SMALL = 0.2, 0.1


def record(sample: int, kind: Question, outcome: Outcome, epsilon: float | None = None, **changes: Any) -> SampleRecord:
    method = {Question.CLEAN: "clean", Question.ATTACK: "pgd", Question.VERIFY: "capm"}[kind]
    base = SampleRecord(
        sample, sample % 2, kind, method, epsilon, outcome, Termination.COMPLETED, 0.1, None, 0, 1, 0, 0.5, 0
    )
    return dataclasses.replace(base, **changes)


def full(sample: int, small: tuple[Outcome, Outcome], large: tuple[Outcome, Outcome]) -> list[SampleRecord]:
    rows = [record(sample, Question.CLEAN, Outcome.CORRECT)]
    for epsilon, (attack, proof) in ((SMALL, small), (LARGE, large)):
        distance = epsilon * 0.9 if attack is Outcome.BROKEN else None
        rows.append(record(sample, Question.ATTACK, attack, epsilon, distance=distance))
        rows.append(record(sample, Question.VERIFY, proof, epsilon))
    return rows


def report(records: list[SampleRecord], **changes: Any):
    found = summarise(dataclasses.replace(TASK, **changes), records, [])
    return RobustnessReport.of(Run("id", "robustness", "", "now", "", "complete", 1.0, TASK.to_dict()), found)


B, S, V, U = Outcome.BROKEN, Outcome.SURVIVED, Outcome.VERIFIED, Outcome.UNKNOWN


def test_wilson_is_the_textbook_formula() -> None:
    found = rate("x", None, 8, 10)
    z = norm.ppf(0.975)
    middle = (0.8 + z * z / 20) / (1 + z * z / 10)
    half = z / (1 + z * z / 10) * (0.8 * 0.2 / 10 + z * z / 400) ** 0.5
    assert (found.low, found.high) == pytest.approx((middle - half, middle + half))
    assert rate("x", None, 8, 10, guarantee=True).low < found.low


def test_rates_over_all_and_over_the_correct() -> None:
    records = [*full(0, (S, V), (S, U)), *full(1, (S, V), (B, U)), *full(2, (S, U), (B, U))]
    wrong = [record(3, Question.CLEAN, Outcome.WRONG)]
    for epsilon in (SMALL, LARGE):
        wrong += [
            record(3, Question.ATTACK, B, epsilon, distance=0.0),
            record(3, Question.VERIFY, Outcome.FALSIFIED, epsilon),
        ]
    found = report([*records, *wrong])
    assert found.rate("clean").measured == 0.75
    assert found.rate("empirical", LARGE).measured == 0.25
    assert found.rate("certified", SMALL).measured == 0.5
    assert found.rate("undecided", LARGE).measured == 0.25
    assert found.rate("certified|correct", SMALL).n == 3
    assert found.rate("verify:capm|correct", SMALL).measured == pytest.approx(2 / 3)
    assert found.rate("attack:pgd", SMALL).seconds == 0.5


def test_times_are_the_median_and_the_slowest_of_the_correct() -> None:
    records = [r for sample in range(3) for r in full(sample, (S, V), (S, U))]
    timed = [dataclasses.replace(r, seconds=(1.0, 2.0, 60.0)[r.sample_id]) for r in records]
    found = report(timed)
    row = found.rate("verify:capm", SMALL)
    assert (row.seconds, row.slowest) == (2.0, 60.0)
    assert found.rate("certified", SMALL).seconds is None


def test_a_break_holds_at_larger_radii_and_a_proof_at_smaller_ones() -> None:
    found = report([*full(0, (B, U), (S, U)), *full(1, (S, U), (S, V))])
    assert found.rate("empirical", LARGE).measured == 0.5
    assert found.rate("attack:pgd", LARGE).measured == 1.0  # a method's own row is what it did itself
    assert found.rate("certified", SMALL).measured == 0.5


def test_only_samples_with_every_answer_count() -> None:
    records = [
        *full(0, (S, V), (S, V)),
        record(1, Question.CLEAN, Outcome.CORRECT),
        record(1, Question.ATTACK, S, SMALL),
    ]
    found = report(records)
    assert found.rate("clean").n == 2
    assert found.rate("empirical", SMALL).n == 2
    assert found.rate("empirical", LARGE).n == 1
    assert found.rate("undecided", SMALL).n == 1


def test_brackets_name_what_stayed_open() -> None:
    late = record(0, Question.VERIFY, U, LARGE, termination=Termination.OUT_OF_MEMORY)
    records = [r for r in full(0, (S, V), (S, U)) if not (r.question is Question.VERIFY and r.epsilon == LARGE)]
    bracket = report([*records, late]).brackets[0]
    assert bracket.certified == SMALL
    assert bracket.distance is None
    assert bracket.undecided == (LARGE,)
    assert bracket.timed_out == ("capm at 0.2: out_of_memory",)


def test_masked_gradients_and_early_ends_become_warnings() -> None:
    records = [dataclasses.replace(r, backwards=40 if r.method == "pgd" else 0) for r in full(0, (S, U), (S, U))]
    records.append(record(0, Question.ATTACK, B, SMALL, method="mine", distance=0.05, backwards=1))
    records.append(record(0, Question.VERIFY, U, LARGE, method="slow", termination=Termination.TIMEOUT))
    assert {warning.code for warning in report(records).warnings} == {"one-step-stronger", "timeout"}


def test_what_needs_no_gradients_should_not_be_stronger() -> None:
    led = record(0, Question.ATTACK, S, SMALL, forwards=2, backwards=2)
    blind = record(0, Question.ATTACK, B, SMALL, method="square", distance=0.05, forwards=9)
    clean = record(0, Question.CLEAN, Outcome.CORRECT)
    warnings = {warning.code: warning for warning in report([clean, led, blind]).warnings}
    assert set(warnings) == {"blind-stronger"}
    assert warnings["blind-stronger"].evidence == "1 samples, e.g. 0 by square"
    # Nothing to say where an attack with gradients does it too, or where there is none.
    also = record(0, Question.ATTACK, B, SMALL, method="pgd2", distance=0.05, forwards=2, backwards=2)
    assert not report([clean, led, blind, also]).warnings
    assert not report([clean, blind]).warnings


def test_what_needs_no_gradients_should_not_be_nearer() -> None:
    clean = record(0, Question.CLEAN, Outcome.CORRECT)
    led = record(0, Question.ATTACK, B, None, method="fmn", distance=2.0, forwards=2, backwards=2)
    for distance, warned in ((1.0, True), (1.999, False), (3.0, False)):
        blind = record(0, Question.ATTACK, B, None, method="one-pixel", distance=distance, forwards=9)
        found = report([clean, led, blind], epsilons=()).warnings
        assert [warning.code for warning in found] == ["blind-stronger"] * warned


@pytest.mark.parametrize(
    ("proof", "attack"),
    [((LARGE, V), (SMALL, 0.05)), ((SMALL, V), (SMALL, 0.1)), ((SMALL, V), (LARGE, 0.08))],
)
def test_a_contradiction_names_both_records(proof, attack) -> None:
    records = [
        record(7, Question.VERIFY, proof[1], proof[0]),
        record(7, Question.ATTACK, B, attack[0], distance=attack[1]),
    ]
    with pytest.raises(SoundnessError, match=r"sample 7: capm proved .* pgd .* found an adversarial example"):
        check_soundness(records)


def test_a_break_outside_the_proven_ball_is_no_contradiction() -> None:
    check_soundness([record(7, Question.VERIFY, V, SMALL), record(7, Question.ATTACK, B, LARGE, distance=0.15)])


def names(found) -> set[str]:
    return {row.name for row in (*found.rates, *(row for _, rows in found.per_class for row in rows))}


@pytest.mark.parametrize("side", ["attacks", "verifiers"])
def test_a_side_that_nothing_looked_at_has_no_rate(side: str) -> None:
    kind = {"attacks": Question.ATTACK, "verifiers": Question.VERIFY}[side]
    records = [r for r in (*full(0, (S, V), (B, U)), *full(1, (S, V), (S, U))) if r.question is not kind]
    found = names(report(records, **{side: ()}))
    missing, there = ("empirical", "certified") if side == "attacks" else ("certified", "empirical")
    assert there in found
    assert not {missing, f"{missing}|correct", "undecided", "undecided|correct"} & found


def test_a_search_that_finds_counterexamples_is_an_upper_jaw_too() -> None:
    records = [r for r in (*full(0, (S, V), (S, V)), *full(1, (S, V), (S, U))) if r.question is not Question.ATTACK]
    changed = [dataclasses.replace(r, outcome=Outcome.FALSIFIED) if r.outcome is U else r for r in records]
    found = report(changed, attacks=())
    assert (found.rate("empirical", SMALL).measured, found.rate("empirical", LARGE).measured) == (1.0, 0.5)
    assert found.rate("undecided", LARGE).measured == 0.0
