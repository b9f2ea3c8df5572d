from dataclasses import replace

import pytest

from calipers.core.space import InputSpace, RadiusUnit
from calipers.evaluate.robustness.summary import RobustnessReport
from calipers.report.jaws import jaws
from calipers.report.nouns import nouns
from calipers.report.verdict import verdict, warning_lines
from calipers.report.wording import plain_percent

from .examples import WARNINGS, make_report, wilson, without

IMAGES = nouns((1, 28, 28))


def with_rates(report: RobustnessReport, clean: int, empirical: int, certified: int) -> RobustnessReport:
    rates = (
        wilson("clean", None, clean, 100),
        wilson("empirical", 0.03, empirical, 100),
        wilson("certified", 0.03, certified, 100),
        wilson("undecided", 0.03, empirical - certified, 100),
    )
    return replace(report, rates=rates)


def test_verdict_at_one_radius(one_epsilon: RobustnessReport) -> None:
    assert verdict(with_rates(one_epsilon, 98, 91, 65), IMAGES) == (
        "Of 100 images 98 are classified correctly. Under linf perturbations of 0.03 (normalised, unclipped), "
        "at least 65 % and at most 91 % of these 100 images stay correct; "
        "for 26 % neither an attack nor a proof decides."
    )


def test_data_that_are_no_images_are_samples(one_epsilon: RobustnessReport) -> None:
    for words in ((), (nouns((30,)),)):
        text = verdict(with_rates(one_epsilon, 98, 91, 65), *words)
        assert "Of 100 samples 98" in text
        assert "image" not in text


def test_raw_values_are_not_called_pixels_where_there_are_none(one_epsilon: RobustnessReport) -> None:
    report = replace(one_epsilon, task=replace(one_epsilon.task, space=InputSpace(None, RadiusUnit.PIXEL, (1.0,))))
    assert "(pixel, unclipped)" in verdict(report, IMAGES)
    assert "(raw, unclipped)" in verdict(report, nouns((30,)))


def test_a_verdict_without_a_gap_is_about_these_samples(one_epsilon: RobustnessReport) -> None:
    text = verdict(with_rates(one_epsilon, 98, 70, 70))
    assert "70 % of these 100 samples stay correct, each decided by an attack or a proof" in text
    assert "95 % interval for others like them" in text
    assert "exactly" not in text


def test_verdict_names_ends_and_widest_gap(five_epsilons: RobustnessReport) -> None:
    text = verdict(five_epsilons)
    widest = max(jaws(five_epsilons), key=lambda row: row.open)
    assert "stay correct at 0.01" in text
    assert "at 0.08" in text
    assert f"The gap is widest at {widest.epsilon:g}: for {plain_percent(widest.open)} neither" in text


@pytest.mark.parametrize("epsilons", [(0.03,), (0.01, 0.02, 0.03)])
def test_verdict_says_which_jaw_is_missing(epsilons: tuple[float, ...]) -> None:
    report = make_report(epsilons)
    no_proof, no_attack = verdict(without(report, "verify")), verdict(without(report, "attack"))
    assert "The lower bound was not measured: no verifier ran, so nothing is proven." in no_proof
    assert "The upper bound was not measured: no attack ran." in no_attack
    assert "at least" not in no_proof
    assert "at most" not in no_attack
    for text in (no_proof, no_attack):
        assert " 0 %" not in text
        assert "gap" not in text
        assert "decides" not in text


def test_a_jaw_may_be_missing_at_some_radii_only() -> None:
    report = make_report((0.01, 0.02))
    rates = tuple(row for row in report.rates if not (row.epsilon == 0.02 and row.name in ("certified", "undecided")))
    text = verdict(replace(report, rates=rates, status="interrupted"))
    assert "The lower bound was at some radii not measured: no verifier has answered yet" in text


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_an_unfinished_run_says_so_first(one_epsilon: RobustnessReport, status: str) -> None:
    partial = replace(one_epsilon, status=status, task=replace(one_epsilon.task, samples=250))
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


def test_a_warning_is_a_line_with_its_evidence() -> None:
    lines = warning_lines(WARNINGS)
    assert len(lines) == len(WARNINGS)
    for line, warning in zip(lines, WARNINGS, strict=True):
        assert all(part in line for part in (warning.code, warning.message, warning.evidence))
