"""The page's two charts as SVG that follows the page's colours and fonts.

Each chart is drawn twice, for wide and for narrow screens, because text in a scaled-down SVG becomes too small to read.
"""

import io
import math
import re
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from calipers.core.records import Bracket, Rate, RobustnessReport
from calipers.report.jaws import Jaws, jaws
from calipers.report.palette import ATTACK, ATTACK_SOFT, COLOURS, GAP, GAP_SOFT, INK, MUTED, PAPER, PROOF, PROOF_SOFT, RULE, WRONG
from calipers.report.wording import percent, plain_percent, radius

MOST_ROWS = 400  # more rows than a chart has pixels only make the page heavy

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "calipers",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that the layout is the same on every machine
    "font.size": 11.0,
    "hatch.linewidth": 1.0,
    "axes.linewidth": 0.8,
    "axes.edgecolor": RULE.light,
    "axes.labelcolor": MUTED.light,
    "xtick.color": MUTED.light,
    "ytick.color": MUTED.light,
    "text.color": INK.light,
    "text.parse_math": False,
    "axes.unicode_minus": True,
}


@dataclass(frozen=True)
class Format:
    """Size of a drawing in inches of 72 px, and the name that keeps its element ids apart."""

    name: str
    width: float
    height: float
    ticks: int


WIDE = Format("wide", 13.0, 5.6, 8)
NARROW = Format("narrow", 5.3, 5.2, 4)


@dataclass(frozen=True)
class Chart:
    """One chart in both formats with the text that replaces it for those who can't see it."""

    wide: str
    narrow: str
    alt: str


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
    wide, narrow = (_draw(form, "jaws", report, lambda axes, form: _draw_jaws(axes, rows, form)) for form in (WIDE, NARROW))
    return Chart(wide, narrow, alt)


def perturbation_chart(report: RobustnessReport) -> Chart | None:
    """One row per sample: proven radius, nearest adversarial example, undecided between; None without samples."""
    rows = sorted(report.brackets, key=_robustness, reverse=True)
    if not rows or not jaws(report):
        return None
    step = math.ceil(len(rows) / MOST_ROWS)
    drawn = rows[step // 2 :: step]
    found = [row.distance for row in rows if row.distance is not None and row.prediction == row.label]
    alt = (
        f"Proven radius and distance of the nearest adversarial example for {len(rows)} samples, the most robust below. "
        f"For {len(found)} correctly classified samples an adversarial example is known"
        + (f", at a median distance of {float(np.median(found)):.4g}." if found else ".")
        + (f" Every {step}th sample is drawn." if step > 1 else "")
    )
    wide, narrow = (
        _draw(form, "perturbation", report, lambda axes, form: _draw_perturbations(axes, drawn, report, form))
        for form in (WIDE, NARROW)
    )
    return Chart(wide, narrow, alt)


def _robustness(row: Bracket) -> tuple[bool, float, float, int]:
    right = row.prediction == row.label
    return right, math.inf if row.distance is None else row.distance, row.certified or 0.0, -row.sample_id


def _draw_jaws(axes: Axes, rows: tuple[Jaws, ...], form: Format) -> None:
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
    axes.fill_between(x, lower, upper, facecolor=GAP_SOFT.light, edgecolor=GAP.light, hatch="////", linewidth=0)
    axes.fill_between(x, upper, top[0], color=ATTACK_SOFT.light, linewidth=0)
    axes.fill_between(x, top[0], 100, color=WRONG.light, linewidth=0, alpha=0.55)
    axes.step(radii, low, where="pre", color=PROOF.light, linewidth=1.6)
    axes.step(radii, top, where="post", color=ATTACK.light, linewidth=1.6)
    axes.axhline(top[0], color=INK.light, linewidth=1.1, xmax=1 / 1.17)
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
    axes.set_ylabel("share of the images" if form is WIDE else "")


def _jaw(axes: Axes, x: float, rate: Rate, colour: str, marker: str) -> None:
    # A zero-length side guards against rounding: matplotlib refuses negative whiskers.
    sides = [[max(0.0, 100 * (rate.measured - rate.low))], [max(0.0, 100 * (rate.high - rate.measured))]]
    y = 100 * rate.measured
    axes.errorbar([x], [y], yerr=sides, color=colour, elinewidth=1.6, capsize=4, capthick=1.6, clip_on=False, zorder=4)
    axes.plot([x], [y], marker, color=colour, markersize=10, markeredgecolor=PAPER.light, clip_on=False, zorder=5)


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
    reach = 1.08 * max([largest, *(row.distance for row in rows if row.distance is not None)])
    right = np.array([row.prediction == row.label for row in rows])
    proven = np.array([row.certified or 0.0 for row in rows])
    broken = np.array([reach if row.distance is None else row.distance for row in rows])
    edges = np.linspace(0, 100, len(rows) + 1)
    y = np.repeat(edges, 2)[1:-1]

    def stairs(values: np.ndarray) -> np.ndarray:
        return np.repeat(np.where(right, values, np.nan), 2)

    full = np.full(len(rows), reach)
    axes.fill_betweenx(y, 0, stairs(proven), color=PROOF.light, linewidth=0, alpha=0.9)
    axes.fill_betweenx(
        y, stairs(proven), stairs(broken), facecolor=GAP_SOFT.light, edgecolor=GAP.light, hatch="////", linewidth=0
    )
    axes.fill_betweenx(y, stairs(broken), stairs(full), color=ATTACK_SOFT.light, linewidth=0)
    axes.fill_betweenx(y, 0, np.repeat(np.where(right, np.nan, reach), 2), color=WRONG.light, linewidth=0, alpha=0.55)
    known = np.array([row.distance is not None for row in rows])
    axes.plot(np.repeat(np.where(right & known, broken, np.nan), 2), y, color=ATTACK.light, linewidth=2.0)
    for row in jaws(report):
        axes.axvline(row.epsilon, color=INK.light, linewidth=0.9, linestyle=(0, (1, 3)))
    axes.set_xlim(0, reach)
    axes.set_ylim(0, 100)
    axes.set_ylabel("images, the most robust below" if form is WIDE else "")


def _draw(form: Format, name: str, report: RobustnessReport, paint) -> str:  # type: ignore[no-untyped-def]
    spec = report.spec
    with mpl.rc_context({**_STYLE, "font.size": 11.0 if form is WIDE else 10.0}):
        figure = Figure(figsize=(form.width, form.height), facecolor="none", layout="constrained")
        axes = figure.add_subplot(facecolor="none")
        paint(axes, form)
        axes.set_xlabel(f"radius of the perturbation, {spec.norm}, {spec.unit}")
        axes.xaxis.set_major_locator(MaxNLocator(form.ticks))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
        axes.tick_params(length=0, pad=6)
        axes.spines[["top", "right", "left"]].set_visible(False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(buffer.getvalue(), f"{name}-{form.name}")


def _inline(svg: str, name: str) -> str:
    """The svg element alone, with page colours and fonts, ids that are unique in the page, and short numbers."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'(\sid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true" focusable="false">', svg, count=1)
    svg = svg.replace("'DejaVu Sans'", "var(--sans)").replace("DejaVu Sans", "var(--sans)")
    svg = re.sub(r"(\d+\.\d{2})\d+", r"\1", svg)
    for colour in COLOURS:
        svg = svg.replace(colour.light, colour.variable)
    return svg.strip()
