import io
from dataclasses import replace

from rich.console import Console

from calipers.core.records import RobustnessReport
from calipers.report.table import rates_table
from calipers.report.wording import interval, percent

from .examples import wilson


def printed(report: RobustnessReport, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(rates_table(report))
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
