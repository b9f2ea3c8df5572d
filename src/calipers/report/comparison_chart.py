"""The chart of a comparison: a bar for every model and radius, from what is proven to what is wrong as it is."""

from dataclasses import dataclass, replace

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from calipers.core.rates import Rate
from calipers.evaluate.comparison.standings import CERTIFIED, CLEAN, EMPIRICAL, Comparison, Standing
from calipers.report.palette import (
    ATTACK,
    ATTACK_SOFT,
    GAP,
    GAP_SOFT,
    INK,
    MUTED,
    PROOF,
    PROOF_SOFT,
    WRONG,
)
from calipers.report.svg import NARROW, WIDE, Chart, Format, draw
from calipers.report.wording import DASH, measured, radius

_BAR = 0.3  # half of a bar's height, in rows
_PITCH = {WIDE.name: 0.5, NARROW.name: 0.62}  # inches per row


@dataclass(frozen=True)
class _Line:
    """A bar, or the head of the bars of a radius. at: from the top, in rows."""

    at: float
    epsilon: float
    standing: Standing | None


def comparison_chart(comparison: Comparison) -> Chart | None:
    """None before a model is measured."""
    if not comparison.standings:
        return None
    unit = comparison.task.contenders[0].task.unit
    said = "; ".join(
        f"{one.name} at {radius(epsilon, unit)} certified {measured(one.rate(CERTIFIED, epsilon))}, "
        f"empirical {measured(one.rate(EMPIRICAL, epsilon))}"
        for epsilon in comparison.epsilons
        for one in comparison.standings
    )
    lines, end = _lines(comparison)

    def drawn(form: Format, size: float) -> str:
        tall = replace(form, height=0.75 + end * _PITCH[form.name])
        return draw(tall, "compared", size, lambda axes: _paint(axes, lines, end, unit, tall))

    return Chart(drawn(WIDE, 12.0), drawn(NARROW, 10.5), f"Shares of the samples, model by model: {said}.")


def _lines(comparison: Comparison) -> tuple[list[_Line], float]:
    lines, at = [], 0.0
    for epsilon in comparison.epsilons:
        if len(comparison.epsilons) > 1:
            lines.append(_Line(at + 0.15, epsilon, None))
            at += 0.9
        for standing in comparison.standings:
            lines.append(_Line(at, epsilon, standing))
            at += 1.0
        at += 0.25
    return lines, at - 0.25


def _paint(axes: Axes, lines: list[_Line], end: float, unit: str, form: Format) -> None:
    wide = form.name == WIDE.name
    for line in lines:
        if line.standing is None:
            axes.text(0, line.at, f"\N{GREEK SMALL LETTER EPSILON} = {radius(line.epsilon, unit)}", va="center",
                      fontweight="bold", color=INK.light)  # fmt: skip
        else:
            _bar(axes, line, line.standing)
            name = {"ha": "right", "x": -2, "y": line.at} if wide else {"ha": "left", "x": 0, "y": line.at - 0.42}
            axes.text(s=line.standing.name, va="center", color=INK.light, clip_on=False, **name)  # type: ignore[arg-type]
    axes.set_xlim(0, 118 if wide else 100)
    axes.set_ylim(end - 0.45, -0.55)
    axes.xaxis.set_major_locator(FixedLocator([0, 25, 50, 75, 100]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
    axes.set_yticks([])
    axes.tick_params(axis="x", length=0, pad=6)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)


def _bar(axes: Axes, line: _Line, one: Standing) -> None:
    clean, upper, lower = (_share(one, name, line.epsilon) for name in (CLEAN, EMPIRICAL, CERTIFIED))
    top = 100.0 if clean is None else 100 * clean.measured
    most = top if upper is None else 100 * upper.measured
    least = 0.0 if lower is None else 100 * lower.measured
    bottom, height = line.at - _BAR, 2 * _BAR
    for left, right, colour in (
        (0, least, PROOF_SOFT),
        (most, top, ATTACK_SOFT),
        (top, 100, WRONG),
    ):
        axes.broken_barh([(left, right - left)], (bottom, height), facecolor=colour.light, linewidth=0)
    axes.broken_barh([(least, most - least)], (bottom, height), facecolor=GAP_SOFT.light, edgecolor=GAP.light,
                     hatch="///", linewidth=0)  # fmt: skip
    for rate, line_colour, shift in ((lower, PROOF.light, 0.13), (upper, ATTACK.light, -0.13)):
        if rate is not None:
            _marked(axes, rate, line.at, shift, line_colour)
    axes.plot([top, top], [bottom, bottom + height], color=INK.light, linewidth=1.6, solid_capstyle="butt")
    told = [f"{100 * rate.measured:.0f}" for rate in (lower, upper) if rate is not None]
    if axes.get_figure().get_figwidth() > NARROW.width:  # type: ignore[union-attr]
        axes.text(102, line.at, f"{f' {DASH} '.join(told)} %", va="center", color=MUTED.light)


def _marked(axes: Axes, rate: Rate, at: float, shift: float, colour: str) -> None:
    """The rate as a line across the bar, its 95 % interval as a whisker in its own half of it."""
    x = 100 * rate.measured
    axes.plot([x, x], [at - _BAR, at + _BAR], color=colour, linewidth=2.2, solid_capstyle="butt")
    ends = [100 * rate.low, 100 * rate.high]
    axes.plot(ends, [at + shift] * 2, color=colour, linewidth=1.6, marker="|", markersize=5)


def _share(one: Standing, name: str, epsilon: float) -> Rate | None:
    return one.rate(name, None if name == CLEAN else epsilon)
