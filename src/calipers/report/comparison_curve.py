"""The chart of a comparison's distances: robust accuracy of every model against the radius, in one drawing."""

import math
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from calipers.evaluate.comparison.standings import CLEAN, Comparison, Standing
from calipers.report.palette import ATTACK, GAP, INK, MUTED, PROOF, RULE, Colour
from calipers.report.svg import NARROW, WIDE, Chart, Format, draw
from calipers.report.wording import number, percent, radius

# Models take these in turn; the dashes tell them apart without colours.
_COLOURS = (ATTACK, PROOF, INK, GAP)
_DASHES = ("-", (0, (6, 2)), (0, (2, 1.5)))
_APART = 0.1  # of the drawing's width, between labels of radii


@dataclass(frozen=True)
class Curve:
    """Stairs of one model: from radius places[i] on, heights[i] of all samples are right and have no example found."""

    name: str
    places: tuple[float, ...]
    heights: tuple[float, ...]


def curves(comparison: Comparison) -> list[Curve]:
    """Of the models that minimum-norm attacks have gone through; a sample that is wrong as it is counts as broken."""
    return [_curve(one) for one in comparison.standings if one.nearest is not None and one.nearest.distances]


def _curve(one: Standing) -> Curve:
    clean, nearest = one.rate(CLEAN, None), one.nearest
    assert clean is not None
    assert nearest is not None
    places = (0.0, *sorted({d for d in nearest.distances if math.isfinite(d)}))
    return Curve(one.name, places, tuple(clean.measured * nearest.accuracy(place) for place in places))


def distance_chart(comparison: Comparison) -> Chart | None:
    """None where no minimum-norm attack found anything."""
    found = curves(comparison)
    reach = max((one.places[-1] for one in found), default=0.0)
    if not reach:
        return None
    task = comparison.task.contenders[0].task
    said = "; ".join(
        f"{one.name} {percent(one.heights[0])} as it is" + ("" if half is None else f", half of that at {number(half)}")
        for one in found
        for half in (next((p for p, h in zip(one.places, one.heights, strict=True) if h <= one.heights[0] / 2), None),)
    )
    asked = [e for e in comparison.epsilons if e < reach]
    label = f"\N{GREEK SMALL LETTER EPSILON}, {task.norm}, {task.unit} units"

    def drawn(form: Format, size: float) -> str:
        return draw(form, "distances", size, lambda axes: _paint(axes, found, 1.03 * reach, asked, (label, task.unit)))

    return Chart(drawn(WIDE, 12.0), drawn(NARROW, 10.5), f"Robust accuracy at most, against the radius: {said}.")


def _paint(axes: Axes, found: list[Curve], reach: float, asked: list[float], said: tuple[str, str]) -> None:
    label, unit = said
    last = -reach
    for epsilon in asked:
        axes.axvline(epsilon, color=RULE.light, linewidth=1.2, zorder=0)
        if epsilon - last > _APART * reach:
            axes.text(epsilon, 101, radius(epsilon, unit), ha="center", va="bottom", color=MUTED.light)
            last = epsilon
    for place, one in enumerate(found):
        colour, dashes = _style(place)
        # What is left at the end goes on; a model with nothing left is over.
        end = (reach,) if one.heights[-1] else ()
        x = (*one.places, *end)
        y = [100 * height for height in (*one.heights, *one.heights[-1:] * len(end))]
        axes.step(x, y, where="post", color=colour.light, linestyle=dashes, linewidth=2.0, label=one.name)
    axes.set_xlim(0, reach)
    axes.set_ylim(0, 100)
    axes.set_xlabel(label)
    axes.yaxis.set_major_locator(FixedLocator([0, 25, 50, 75, 100]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
    axes.tick_params(length=0, pad=6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper right", labelcolor=INK.light)


def _style(place: int) -> tuple[Colour, object]:
    return _COLOURS[place % len(_COLOURS)], _DASHES[(place // len(_COLOURS) + place) % len(_DASHES)]
