from dataclasses import replace

import pytest

from calipers.core.records import Rate, RobustnessReport
from calipers.report.jaws import jaws
from calipers.report.wording import percent, plain_percent, radius, seconds, spent, verdict

from .examples import make_report, wilson


def with_rates(report: RobustnessReport, clean: int, empirical: int, certified: int) -> RobustnessReport:
    rates = (
        wilson("clean", None, clean, 100),
        wilson("empirical", 0.03, empirical, 100),
        wilson("certified", 0.03, certified, 100),
        wilson("undecided", 0.03, empirical - certified, 100),
    )
    return replace(report, rates=rates)


def test_verdict_at_one_radius(one_epsilon: RobustnessReport) -> None:
    assert verdict(with_rates(one_epsilon, 98, 91, 65)) == (
        "Of 100 images 98 are classified correctly. Under linf perturbations of 0.03 (normalised, unclipped), "
        "at least 65 % and at most 91 % stay correct; for 26 % neither an attack nor a proof decides."
    )


def test_verdict_without_a_gap(one_epsilon: RobustnessReport) -> None:
    text = verdict(with_rates(one_epsilon, 98, 70, 70))
    assert "exactly 70 % stay correct; every image is decided by an attack or a proof." in text


def test_verdict_names_ends_and_widest_gap(five_epsilons: RobustnessReport) -> None:
    text = verdict(five_epsilons)
    widest = max(jaws(five_epsilons), key=lambda row: row.undecided.measured)
    assert "stay correct at 0.01" in text
    assert "at 0.08" in text
    assert f"The gap is widest at {widest.epsilon:g}: for {plain_percent(widest.undecided.measured)} neither" in text


def test_verdict_says_which_jaw_is_missing(one_epsilon: RobustnessReport) -> None:
    no_proof = replace(one_epsilon, spec=replace(one_epsilon.spec, verifiers=()))
    no_attack = replace(one_epsilon, spec=replace(one_epsilon.spec, attacks=()))
    assert "no verifier ran, so nothing is proven" in verdict(no_proof)
    assert "no attack ran" in verdict(no_attack)


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_an_unfinished_run_says_so_first(one_epsilon: RobustnessReport, status: str) -> None:
    partial = replace(one_epsilon, status=status, spec=replace(one_epsilon.spec, samples=250))
    text = verdict(partial)
    assert text.startswith(f"This run is not complete (status: {status}).")
    assert "100 of 250 samples" in text


def test_a_run_without_samples_has_a_verdict(one_epsilon: RobustnessReport) -> None:
    empty = replace(one_epsilon, rates=(), per_class=(), brackets=(), status="running")
    assert verdict(empty).endswith("No sample has been measured yet.")
    assert jaws(empty) == ()


def test_radii_that_are_not_measured_yet_are_left_out() -> None:
    report = make_report((0.01, 0.02))
    rates = tuple(row for row in report.rates if row.epsilon != 0.02)
    assert [row.epsilon for row in jaws(replace(report, rates=rates))] == [0.01]


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0.0 %"),
        (1.0, "100.0 %"),
        (0.654, "65.4 %"),
        (0.9999, "99.99 %"),
        (0.0001, "0.01 %"),
        (float("nan"), "\u2013"),
    ],
)
def test_only_none_and_all_read_as_none_and_all(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("epsilon", "unit", "text"),
    [(8 / 255, "pixel", "8/255"), (8 / 255, "normalised", "0.0313725"), (0.03, "pixel", "0.03"), (0.2, "pixel", "0.2")],
)
def test_radius(epsilon: float, unit: str, text: str) -> None:
    assert radius(epsilon, unit) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "\u2013"),
        (2e-5, "20 \u00b5s"),
        (0.0123, "12.3 ms"),
        (1.5, "1.5 s"),
        (75.0, "1 min 15 s"),
        (7300.0, "2 h 2 min"),
    ],
)
def test_seconds(value: float | None, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("median", "slowest", "text"),
    [
        (None, None, ""),
        (0.033, None, "33 ms"),
        (0.033, 0.9, "33 ms"),
        (0.033, 60.2, "33 ms, up to 1 min 0 s"),
        (12.0, 60.2, "12.0 s"),
    ],
)
def test_a_long_tail_of_times_is_told(median: float | None, slowest: float | None, text: str) -> None:
    assert spent(Rate("verify:complete", 0.03, 0.5, 10, 0.2, 0.8, median, slowest)) == text
