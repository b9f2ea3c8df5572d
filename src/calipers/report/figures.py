"""The page's two charts.

Each chart is drawn twice, for wide and for narrow screens, because text in a scaled-down SVG becomes too small to read.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from calipers.core.rates import Rate
from calipers.evaluate.robustness.summary import Bracket, RobustnessReport
from calipers.report.jaws import Jaws, both_measured, jaws
from calipers.report.nouns import ANYTHING, Nouns
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
from calipers.report.wording import measured, plain_percent, radius

MOST_ROWS = 400  # more rows than a chart has pixels only make the page heavy


def bracket_chart(report: RobustnessReport, words: Nouns = ANYTHING) -> Chart | None:
    """Accuracy against epsilon, the room between the jaws shaded; None if no radius has been measured."""
    rows = jaws(report)
    if not rows:
        return None
    spoken = "; ".join(
        f"at {radius(row.epsilon, report.task.unit)} certified {measured(row.certified)}, "
        f"empirical {measured(row.empirical)}"
        for row in rows
    )
    alt = f"Accuracy against epsilon. Clean accuracy {plain_percent(rows[0].clean.measured)}; {spoken}."
    return _both("jaws", alt, report, words, lambda axes, form: _draw_jaws(axes, rows, report, words, form))


def perturbation_chart(report: RobustnessReport, words: Nouns = ANYTHING) -> Chart | None:
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
    return _both(
        "perturbation", alt, report, words, lambda axes, form: _draw_perturbations(axes, drawn, report, words, form)
    )


def _robustness(row: Bracket) -> tuple[bool, float, float, int]:
    right = row.prediction == row.label
    return right, math.inf if row.distance is None else row.distance, row.certified or 0.0, -row.sample_id


def _draw_jaws(axes: Axes, rows: tuple[Jaws, ...], report: RobustnessReport, words: Nouns, form: Format) -> None:
    clean = rows[0].clean
    radii = np.array([0.0, *(row.epsilon for row in rows)])
    top = 100 * np.array([clean.measured, *(row.at_most for row in rows)])
    low = 100 * np.array([clean.measured, *(row.at_least for row in rows)])
    span = float(radii[-1]) or 1.0
    # A known adversarial example breaks every larger radius and a proof holds for every smaller one, so between
    # measured radii the upper jaw keeps its left value and the lower jaw its right value: these stairs are no guess.
    x = np.repeat(radii, 2)[1:-1]
    upper, lower = np.repeat(top[:-1], 2), np.repeat(low[1:], 2)
    axes.fill_between(x, 0, lower, color=PROOF_SOFT.light, linewidth=0)
    axes.fill_between(x, lower, upper, color=GAP_SOFT.light, linewidth=0)
    axes.fill_between(x, upper, top[0], color=ATTACK_SOFT.light, linewidth=0)
    axes.fill_between(x, top[0], 100, color=WRONG.light, linewidth=0)
    # The straight lines do guess, but they lead the eye from one measured gap to the next.
    gap = (radii, low, top) if both_measured(rows) else (x, lower, upper)
    axes.fill_between(*gap, facecolor="none", edgecolor=GAP.light, hatch="///", linewidth=0)
    for colour, jaw in ((PROOF.light, "certified"), (ATTACK.light, "empirical")):
        known = [(row.epsilon, rate) for row in rows if (rate := getattr(row, jaw)) is not None]
        if known:
            places = [(0.0, clean), *known]
            axes.plot(
                [at for at, _ in places], [100 * rate.measured for _, rate in places], color=colour, linewidth=1.8
            )
    axes.axhline(top[0], color=INK.light, linewidth=1.1, xmin=0.02 / 1.19, xmax=1.02 / 1.19)
    if has_distances(report):
        _known_distances(axes, report.brackets, span)
    nudge = 0.006 * span
    _jaw(axes, 0.0, clean, INK.light, "o")
    for row in rows:
        if row.undecided is not None:
            axes.plot([row.epsilon] * 2, (100 * row.at_least, 100 * row.at_most), color=INK.light, linewidth=1.0)
        if row.empirical is not None:
            _jaw(axes, row.epsilon + nudge, row.empirical, ATTACK.light, "v")
        if row.certified is not None:
            _jaw(axes, row.epsilon - nudge, row.certified, PROOF.light, "^")
    _end_labels(axes, rows[-1], span)
    axes.set_xlim(-0.02 * span, 1.17 * span)
    axes.set_ylim(0, 100.6)
    _radius_ticks(axes, [row.epsilon for row in rows], 1.19 * span, report.task.unit, form)
    axes.set_ylabel(f"share of the {words.samples}" if form is WIDE else "")


def has_distances(report: RobustnessReport) -> bool:
    """Whether minimum-norm attacks have looked for the nearest example of every sample."""
    return any(attack.minimum_norm for attack in report.task.attacks)


def _known_distances(axes: Axes, brackets: Sequence[Bracket], span: float) -> None:
    """The upper jaw at every radius: it falls at the distance of each known example."""
    distances = np.array(
        [0.0 if row.prediction != row.label else np.inf if row.distance is None else row.distance for row in brackets]
    )
    places = np.unique([0.0, *distances[distances <= span], span])
    heights = [100 * float((distances > place).mean()) for place in places]
    axes.step(places, heights, where="post", color=ATTACK.light, linewidth=1.4, linestyle=(0, (2, 1)))


def _radius_ticks(axes: Axes, radii: Sequence[float], width: float, unit: str, form: Format) -> None:
    """A tick at 0 and at every radius; where two labels would touch, the smaller radius goes without its own.

    width: of the axis, in units of the radius.
    """
    letters = max(len(radius(at, unit)) for at in radii)
    closest = width * (letters + 1.5) / form.letters
    labels = {0.0: "0"}
    last = math.inf
    for at in sorted(set(radii), reverse=True):
        told = last - at >= closest and (at >= closest or at == 0.0)
        labels[at] = radius(at, unit) if told else ""
        last = at if told else last
    axes.set_xticks(list(labels), list(labels.values()))
    axes.tick_params(axis="x", length=4, color=MUTED.light)


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
        (row.clean, 100 * row.clean.measured, "clean", INK.light),
        (row.empirical, 100 * row.at_most, "empirical", ATTACK.light),
        (row.certified, 100 * row.at_least, "certified", PROOF.light),
    ]
    ceiling = 97.0
    for index, (rate, height, name, colour) in enumerate(labels):
        floor = 3.0 + room * (len(labels) - 1 - index)
        y = max(floor, min(height, ceiling))
        ceiling = y - room
        missing = rate is None
        axes.text(
            row.epsilon + 0.03 * span,
            y,
            f"{name} {measured(rate)}",
            color=MUTED.light if missing else colour,
            va="center",
            fontweight="normal" if missing else "bold",
        )


def _draw_perturbations(axes: Axes, rows: list[Bracket], report: RobustnessReport, words: Nouns, form: Format) -> None:
    radii = [row.epsilon for row in jaws(report)]
    largest = max(radii)
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
    for at in radii:
        axes.axvline(at, color=INK.light, linewidth=0.9, linestyle=(0, (1, 3)))
    axes.set_xlim(0, reach)
    # Beyond the largest radius, where the nearest examples of some attacks lie, its multiples give the scale.
    beyond = [factor * largest for factor in (2, 3) if factor * largest <= reach]
    _radius_ticks(axes, [*radii, *beyond], reach, report.task.unit, form)
    axes.set_ylim(0, 100)
    axes.set_ylabel(f"{words.samples}, the most robust below" if form is WIDE else "")


def _both(name: str, alt: str, report: RobustnessReport, words: Nouns, paint: Callable[[Axes, Format], None]) -> Chart:
    def finish(axes: Axes, form: Format) -> None:
        paint(axes, form)
        axes.set_xlabel(f"radius of the perturbation, {report.task.norm}, {words.unit(report.task.unit)}")
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
        axes.tick_params(axis="y", length=0, pad=6)
        axes.spines[["top", "right", "left"]].set_visible(False)

    wide = draw(WIDE, name, 12.0, lambda axes: finish(axes, WIDE))
    narrow = draw(NARROW, name, 10.5, lambda axes: finish(axes, NARROW))
    return Chart(wide, narrow, alt)
