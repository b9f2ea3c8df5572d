"""The page's two charts.

Each chart is drawn twice, for wide and for narrow screens, because text in a scaled-down SVG becomes too small to read.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from calipers.core.records import Bracket, Rate, RobustnessReport
from calipers.report.jaws import Jaws, jaws
from calipers.report.palette import (
    ATTACK,
    ATTACK_SOFT,
    GAP,
    GAP_SOFT,
    INK,
    MUTED,
    PAPER,
    PROOF,
    PROOF_SOFT,
    WRONG,
)
from calipers.report.svg import NARROW, WIDE, Chart, Format, draw
from calipers.report.wording import percent, plain_percent, radius

MOST_ROWS = 400  # more rows than a chart has pixels only make the page heavy


def bracket_chart(report: RobustnessReport) -> Chart | None:
    """Accuracy against epsilon, the room between the jaws shaded; None if no radius has been measured."""
    rows = jaws(report)
    if not rows:
        return None
    spoken = "; ".join(
        f"at {radius(row.epsilon, report.spec.unit)} certified {plain_percent(row.certified.measured)}, "
        f"empirical {plain_percent(row.empirical.measured)}"
        for row in rows
    )
    alt = f"Accuracy against epsilon. Clean accuracy {plain_percent(rows[0].clean.measured)}; {spoken}."
    return _both("jaws", alt, report, lambda axes, form: _draw_jaws(axes, rows, report, form))


def perturbation_chart(report: RobustnessReport) -> Chart | None:
    """One row per sample: proven radius, nearest adversarial example, undecided between; None without samples."""
    rows = sorted(report.brackets, key=_robustness, reverse=True)
    if not rows or not jaws(report):
        return None
    step = math.ceil(len(rows) / MOST_ROWS)
    drawn = rows[step // 2 :: step]
    found = [row.distance for row in rows if row.distance is not None and row.prediction == row.label]
    alt = (
        f"Proven radius and distance of the nearest adversarial example for {len(rows)} samples, most robust below. "
        f"For {len(found)} correctly classified samples an adversarial example is known"
        + (f", at a median distance of {float(np.median(found)):.4g}." if found else ".")
        + (f" Every {step}th sample is drawn." if step > 1 else "")
    )
    return _both("perturbation", alt, report, lambda axes, form: _draw_perturbations(axes, drawn, report, form))


def _robustness(row: Bracket) -> tuple[bool, float, float, int]:
    right = row.prediction == row.label
    return right, math.inf if row.distance is None else row.distance, row.certified or 0.0, -row.sample_id


def _draw_jaws(axes: Axes, rows: tuple[Jaws, ...], report: RobustnessReport, form: Format) -> None:
    clean = rows[0].clean
    radii = np.array([0.0, *(row.epsilon for row in rows)])
    top = 100 * np.array([clean.measured, *(row.empirical.measured for row in rows)])
    low = 100 * np.array([clean.measured, *(row.certified.measured for row in rows)])
    span = float(radii[-1]) or 1.0
    # A known adversarial example breaks every larger radius and a proof holds for every smaller one, so between
    # measured radii the upper jaw keeps its left value and the lower jaw its right value: these stairs are no guess.
    x = np.repeat(radii, 2)[1:-1]
    upper, lower = np.repeat(top[:-1], 2), np.repeat(low[1:], 2)
    axes.fill_between(x, 0, lower, color=PROOF_SOFT.light, linewidth=0)
    axes.fill_between(x, lower, upper, color=GAP_SOFT.light, linewidth=0)
    axes.fill_between(x, upper, top[0], color=ATTACK_SOFT.light, linewidth=0)
    # The straight lines do guess, but they lead the eye from one measured gap to the next.
    axes.fill_between(radii, low, top, facecolor="none", edgecolor=GAP.light, hatch="///", linewidth=0)
    axes.fill_between(x, top[0], 100, color=WRONG.light, linewidth=0)
    axes.plot(radii, low, color=PROOF.light, linewidth=1.8)
    axes.plot(radii, top, color=ATTACK.light, linewidth=1.8)
    axes.axhline(top[0], color=INK.light, linewidth=1.1, xmax=1 / 1.17)
    if has_distances(report):
        _known_distances(axes, report.brackets, span)
    nudge = 0.006 * span
    _jaw(axes, 0.0, clean, INK.light, "o")
    for row in rows:
        heights = (100 * row.certified.measured, 100 * row.empirical.measured)
        axes.plot([row.epsilon] * 2, heights, color=INK.light, linewidth=1.0)
        _jaw(axes, row.epsilon + nudge, row.empirical, ATTACK.light, "v")
        _jaw(axes, row.epsilon - nudge, row.certified, PROOF.light, "^")
    _end_labels(axes, rows[-1], span)
    axes.set_xlim(-0.02 * span, 1.17 * span)
    axes.set_ylim(0, 100.6)
    _radius_ticks(axes, rows, report.spec.unit, form)
    axes.set_ylabel("share of the images" if form is WIDE else "")


def has_distances(report: RobustnessReport) -> bool:
    """Whether minimum-norm attacks have looked for the nearest example of every sample."""
    return any(attack.minimum_norm for attack in report.spec.attacks)


def _known_distances(axes: Axes, brackets: Sequence[Bracket], span: float) -> None:
    """The upper jaw at every radius: it falls at the distance of each known example."""
    distances = np.array(
        [0.0 if row.prediction != row.label else np.inf if row.distance is None else row.distance for row in brackets]
    )
    places = np.unique([0.0, *distances[distances <= span], span])
    heights = [100 * float((distances > place).mean()) for place in places]
    axes.step(places, heights, where="post", color=ATTACK.light, linewidth=1.4, linestyle=(0, (2, 1)))


def _radius_ticks(axes: Axes, rows: tuple[Jaws, ...], unit: str, form: Format) -> None:
    """Ticks at the measured radii; where two would touch, the smaller one goes without."""
    closest = rows[-1].epsilon * 0.6 / form.ticks
    ticks = [rows[-1].epsilon]
    for row in reversed(rows[:-1]):
        if ticks[0] - row.epsilon >= closest and row.epsilon >= closest:
            ticks.insert(0, row.epsilon)
    axes.set_xticks([0.0, *ticks], ["0", *(radius(tick, unit) for tick in ticks)])


def _jaw(axes: Axes, x: float, rate: Rate, colour: str, marker: str) -> None:
    # A zero-length side guards against rounding: matplotlib refuses negative whiskers.
    sides = [[max(0.0, 100 * (rate.measured - rate.low))], [max(0.0, 100 * (rate.high - rate.measured))]]
    y = 100 * rate.measured
    axes.errorbar([x], [y], yerr=sides, color=colour, elinewidth=1.6, capsize=4, capthick=1.6, clip_on=False, zorder=4)
    axes.plot(
        [x],
        [y],
        marker,
        color=colour,
        markersize=9 if marker == "o" else 11,
        markeredgecolor=PAPER.light,
        clip_on=False,
        zorder=5,
    )


def _end_labels(axes: Axes, row: Jaws, span: float) -> None:
    room = 6.0
    labels = [
        (row.clean, "clean", INK.light),
        (row.empirical, "empirical", ATTACK.light),
        (row.certified, "certified", PROOF.light),
    ]
    ceiling = 97.0
    for index, (rate, name, colour) in enumerate(labels):
        floor = 3.0 + room * (len(labels) - 1 - index)
        y = max(floor, min(100 * rate.measured, ceiling))
        ceiling = y - room
        text = f"{name} {percent(rate.measured)}"
        axes.text(row.epsilon + 0.03 * span, y, text, color=colour, va="center", fontweight="bold")


def _draw_perturbations(axes: Axes, rows: list[Bracket], report: RobustnessReport, form: Format) -> None:
    largest = max(row.epsilon for row in jaws(report))
    # One far adversarial example must not squeeze all others against the axis.
    farthest = max([largest, *(row.distance for row in rows if row.distance is not None)])
    reach = 1.08 * min(farthest, 3 * largest) or 1.0
    right = np.array([row.prediction == row.label for row in rows])
    proven = np.array([row.certified or 0.0 for row in rows])
    broken = np.array([reach if row.distance is None else min(row.distance, reach) for row in rows])
    edges = np.linspace(0, 100, len(rows) + 1)
    y = np.repeat(edges, 2)[1:-1]

    def stairs(values: np.ndarray) -> np.ndarray:
        return np.repeat(np.where(right, values, np.nan), 2)

    full = np.full(len(rows), reach)
    axes.fill_betweenx(y, 0, stairs(proven), color=PROOF_SOFT.light, linewidth=0)
    axes.fill_betweenx(
        y, stairs(proven), stairs(broken), facecolor=GAP_SOFT.light, edgecolor=GAP.light, hatch="///", linewidth=0
    )
    axes.fill_betweenx(y, stairs(broken), stairs(full), color=ATTACK_SOFT.light, linewidth=0)
    axes.fill_betweenx(y, 0, np.repeat(np.where(right, np.nan, reach), 2), color=WRONG.light, linewidth=0)
    known = np.array([row.distance is not None and row.distance < reach for row in rows])
    axes.plot(np.repeat(np.where(right & known, broken, np.nan), 2), y, color=ATTACK.light, linewidth=2.0)
    for row in jaws(report):
        axes.axvline(row.epsilon, color=INK.light, linewidth=0.9, linestyle=(0, (1, 3)))
        label = radius(row.epsilon, report.spec.unit)
        if form is WIDE:
            axes.text(row.epsilon, 101, label, color=MUTED.light, ha="center", va="bottom", fontsize="small")
    axes.set_xlim(0, reach)
    axes.xaxis.set_major_locator(MaxNLocator(form.ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylim(0, 100)
    axes.set_ylabel("images, the most robust below" if form is WIDE else "")


def _both(name: str, alt: str, report: RobustnessReport, paint: Callable[[Axes, Format], None]) -> Chart:
    def finish(axes: Axes, form: Format) -> None:
        paint(axes, form)
        axes.set_xlabel(f"radius of the perturbation, {report.spec.norm}, {report.spec.unit}")
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
        axes.tick_params(length=0, pad=6)
        axes.spines[["top", "right", "left"]].set_visible(False)

    wide = draw(WIDE, name, 12.0, lambda axes: finish(axes, WIDE))
    narrow = draw(NARROW, name, 10.5, lambda axes: finish(axes, NARROW))
    return Chart(wide, narrow, alt)
