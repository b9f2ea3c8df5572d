"""The figure of studies: panels of lines, and pictures below them."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from calipers.core.files import whole
from calipers.evaluate.reproduce import Lines, Reproduced, StudyGroup, grouped
from calipers.evaluate.reproduce.study import Point
from calipers.report.palette import ATTACK, GAP, INK, MUTED, PAPER, PROOF, RULE
from calipers.report.study_pictures import draw_pictures, pictures_of
from calipers.report.svg import STYLE
from calipers.store.store import Store

# By the order in which lines come: what there was before in grey, what was repaired in the colours of the page.
_LINES = (
    (MUTED.light, "-", "o"),
    (INK.light, "--", "s"),
    (ATTACK.light, ":", "v"),
    (ATTACK.light, "-", "^"),
    (PROOF.light, "-", "o"),
    (GAP.light, "-.", "D"),
)
# Between points that stand side by side, where x counts.
_ASIDE = 0.24
_Limits = tuple[float, float]


def save_lines(store: Store, reproduced: Reproduced, asked: Lines, path: Path) -> Path:
    """Draw the panels, and what stands below them, into `path` (*.png). Panels of one label share their axes."""
    groups = grouped(reproduced.studies)
    panels = {
        panel: (group, [point for point in points if point.panel == panel])
        for group in groups
        for points in (group.mean_points(),)
        for panel in dict.fromkeys(point.panel for point in points)
    }
    lines = list(dict.fromkeys(point.line for _, points in panels.values() for point in points))
    columns = min(asked.columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    pictures = pictures_of(store, groups, asked.beside)
    above = 1.1 + 3.0 * rows
    below = sum(one.height for one in pictures)
    width = max([1.2 + 3.6 * columns, *(one.width for one in pictures)])
    with mpl.rc_context({**STYLE, "font.size": 10.0}):  # type: ignore[dict-item]
        figure = Figure(figsize=(width, above + below), facecolor=PAPER.light, layout="constrained")
        heights = [above, *(one.height for one in pictures)]
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        for part in parts:
            part.set_facecolor(PAPER.light)
        _panels(parts[0], panels, lines, asked, (rows, columns))
        for part, picture in zip(parts[1:], pictures, strict=True):
            draw_pictures(part, picture)
        with whole(path) as file:
            figure.savefig(file, dpi=150, format="png")
    return path


def _panels(
    part: SubFigure,
    panels: dict[str, tuple[StudyGroup, list[Point]]],
    lines: Sequence[str],
    asked: Lines,
    shape: tuple[int, int],
) -> None:
    grid = part.subplots(*shape, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (panel, (group, points)) in zip(grid.flat, panels.items(), strict=False):
        _panel(axes, points, lines, asked.integer)
        near, far = _limits([point for mine, some in panels.values() if mine is group for point in some])
        axes.set_xlim(near)
        axes.set_ylim(far)
        axes.set_title(panel, loc="left", fontsize=11)
        axes.set_xlabel(asked.x)
        if asked.integer:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in grid[:, 0]:
        axes.set_ylabel(f"{asked.y}, %")
    handles = {
        name: handle for axes in grid.flat for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    known = [name for name in lines if name in handles]
    said = dict.fromkeys(_said(group) for group, _ in panels.values())
    part.legend(
        [handles[name] for name in known],
        known,
        loc="outside lower center",
        ncols=min(3, len(known)),
        frameon=False,
        title="; ".join(said),
        title_fontsize=9,
    )


def _panel(axes: Axes, points: Sequence[Point], lines: Sequence[str], apart: bool) -> None:
    """apart: points at one x stand side by side, and nothing connects them."""
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    for line in lines:
        mine = sorted((point for point in points if point.line == line), key=lambda point: point.x)
        if not mine:
            continue
        colour, style, marker = _LINES[lines.index(line) % len(_LINES)]
        beside = _ASIDE * (lines.index(line) - (len(lines) - 1) / 2) if apart else 0.0
        x, y = [point.x + beside for point in mine], [100 * point.y for point in mine]
        style = "none" if apart else style
        axes.plot(x, y, linestyle=style, color=colour, marker=marker, markersize=4.5, linewidth=1.7, label=line)
        low, high = zip(*(_ends(point) for point in mine), strict=True)
        axes.vlines(x, low, high, color=colour, linewidth=0.9, alpha=0.6)
    axes.grid(axis="y", color=RULE.light, linewidth=0.6)


def _ends(point: Point) -> _Limits:
    """Of the bar through a point, in percent, cut at 0 and 100; the point itself where it has none."""
    low, high = (point.y if end is None else end for end in (point.low, point.high))
    return max(0.0, 100 * low), min(100.0, 100 * high)


def _limits(points: Sequence[Point]) -> tuple[_Limits, _Limits]:
    """Of the axes: everything that is drawn, with a little room; rates end at 0 and 100."""
    x = [point.x for point in points]
    y = [end for point in points for end in _ends(point)]
    room = 0.04 * (max(x) - min(x) or 1.0)
    upwards = 0.04 * (max(y) - min(y) or 1.0)
    return (min(x) - room, max(x) + room), (max(-2.0, min(y) - upwards), min(102.0, max(y) + upwards))


def _said(group: StudyGroup) -> str:
    """What bars mean, and of how many."""
    seeds = len(group.findings)
    if seeds > 1:
        return f"{group.label}: means over {seeds} seeds, bars ± one standard deviation"
    return f"{group.label}: one seed, bars 95 % intervals"
