import io
import math
from dataclasses import replace

import pytest
from rich.console import Console

from calipers.core.space import InputSpace, RadiusUnit
from calipers.evaluate.robustness.distances import Distances
from calipers.evaluate.robustness.summary import RobustnessReport
from calipers.report.nearest import NearestReport
from calipers.report.table import rates_table
from calipers.report.wording import interval, percent

from .examples import WARNINGS, make_report, make_task, wilson, without


def printed(report: RobustnessReport, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(rates_table(report, width))
    return stream.getvalue()


def test_every_rate_is_printed_with_interval_and_n(five_epsilons: RobustnessReport) -> None:
    lines = printed(five_epsilons).splitlines()
    for row in five_epsilons.rates:
        wanted = (row.name, percent(row.measured), interval(row), str(row.n))
        assert row.name.endswith("|correct") or any(all(part in line for part in wanted) for line in lines), row


def test_it_fits_a_plain_pipe(five_epsilons: RobustnessReport) -> None:
    text = printed(five_epsilons)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert "linf, epsilon in normalised units, unclipped" in text


def test_the_jaws_come_before_the_methods(one_epsilon: RobustnessReport) -> None:
    text = printed(one_epsilon)
    names = ["clean", "empirical", "certified", "undecided", "attack:fgsm", "verify:capm"]
    assert [text.index(name) for name in names] == sorted(text.index(name) for name in names)
    assert "412 ms" in text


def test_markup_in_a_method_name_is_text(one_epsilon: RobustnessReport) -> None:
    hostile = replace(one_epsilon, rates=(*one_epsilon.rates, wilson("attack:[red]x[/]", 0.03, 5, 100)))
    assert "attack:[red]x[/]" in printed(hostile)


@pytest.mark.parametrize("width", [48, 60, 72, 80, 120])
def test_names_stay_whole_in_narrow_terminals(five_epsilons: RobustnessReport, width: int) -> None:
    text = printed(five_epsilons, width)
    assert max(map(len, text.splitlines())) <= width
    for row in five_epsilons.rates:
        if not row.name.endswith("|correct"):
            assert any(row.name in line and percent(row.measured) in line for line in text.splitlines()), row


@pytest.mark.parametrize(("kind", "jaw"), [("attack", "empirical"), ("verify", "certified")])
def test_a_side_that_was_not_run_is_not_measured(kind: str, jaw: str) -> None:
    lines = printed(without(make_report((0.01, 0.03)), kind)).splitlines()
    for name in (jaw, "undecided"):
        assert [line.split(name)[1].split()[:2] for line in lines if name in line] == [["not", "measured"]] * 2


@pytest.mark.parametrize("width", [50, 60, 80, 120])
def test_nearest_examples_fit_a_narrow_terminal(width: int) -> None:
    task = make_task((), 2)
    one = Distances("pdpgd-linf", (0.012345678, 0.2), 1000.0, 0.5)
    stream = io.StringIO()
    Console(file=stream, width=width).print(NearestReport("id", "calipers attack", task, 2, 2, (one,), ()).table(width))
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert any("pdpgd-linf" in line and "100.0 %" in line for line in text.splitlines())


def test_a_search_for_the_nearest_tells_what_it_found_and_what_to_doubt() -> None:
    task = replace(make_task((), 5), norm="l2", space=InputSpace((0.0, 1.0), RadiusUnit.PIXEL, (1.0,)))
    found = NearestReport("id", "", task, 5, 3, (Distances("nearest", (0.1, 0.3, math.inf), 1000.0, 0.5),), WARNINGS)
    first, second, *rest = str(found).splitlines()
    assert first == "3 of 5 samples are classified correctly. nearest: 2 of 3 broken, at a median distance of 0.3."
    assert second.startswith("A distance is the Euclidean length of all changes together")
    assert [line.split(":")[0] for line in rest] == [f"warning {warning.code}" for warning in WARNINGS]
    nothing = replace(found, correct=0, attacks=(Distances("nearest", (), 0.0, 0.0),))
    assert str(nothing).startswith("0 of 5 samples are classified correctly. nearest: none to break.")
