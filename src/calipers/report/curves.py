"""Figures against epsilon: what methods of a reproduction say or take, and accuracy under nearest examples."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from calipers.core.files import whole
from calipers.evaluate.reproduce import Curves, Finding, Reproduced
from calipers.evaluate.robustness.distances import BEST, Distances
from calipers.report.nearest import NearestReport
from calipers.report.palette import ATTACK, GAP, INK, MUTED, PAPER, PROOF
from calipers.report.svg import STYLE

_ASIDE = 0.01  # of the largest radius
# Methods take these in turn, in the order of their experiments.
_ATTACKS = ((ATTACK.light, "^", "-"), (GAP.light, "<", ":"), (GAP.light, ">", ":"), (ATTACK.light, "x", "--"))
_VERIFIERS = (
    (GAP.light, "o", "-."),
    (MUTED.light, "v", "--"),
    (INK.light, "p", "-"),
    (PROOF.light, "o", ":"),
    (PROOF.light, "D", "--"),
    (PROOF.light, "s", "-"),
)


@dataclass(frozen=True)
class _Line:
    """How the line of one method is drawn."""

    label: str
    colour: str
    marker: str
    style: str


def lines(reproduced: Reproduced, asked: Curves) -> dict[str, _Line]:
    """The line of every method of the experiments, by the name of its rows; attacks first."""
    experiments = [finding.experiment for finding in reproduced.findings]
    attacks = dict.fromkeys(f"attack:{one.name}" for experiment in experiments for one in reversed(experiment.attacks))
    verifiers = dict.fromkeys(f"verify:{one.name}" for experiment in experiments for one in experiment.verifiers)
    return {
        row: _Line(asked.names.get(row, row.partition(":")[2]), *style)
        for rows, styles in ((attacks, _ATTACKS), (verifiers, _VERIFIERS))
        for row, style in zip(rows, itertools.cycle(styles), strict=False)
    }


def save_curves(reproduced: Reproduced, asked: Curves, path: Path) -> Path:
    """Draw the curves that are asked for into `path` (*.png)."""
    paint = {"rate": _rates, "seconds": _times}[asked.quantity]
    drawn = lines(reproduced, asked)
    labels = list(dict.fromkeys(finding.experiment.label for finding in reproduced.findings))
    units = list(dict.fromkeys(finding.experiment.unit for finding in reproduced.findings))
    with mpl.rc_context({**STYLE, "font.size": 10.0}):  # type: ignore[dict-item]
        size = (1 + 3.6 * len(labels), 1.2 + 3.0 * len(units))
        figure = Figure(figsize=size, facecolor=PAPER.light, layout="constrained")
        grid = figure.subplots(len(units), len(labels), squeeze=False, sharey=True)
        for finding in reproduced.findings:
            experiment = finding.experiment
            axes = grid[units.index(experiment.unit)][labels.index(experiment.label)]
            paint(axes, finding, drawn)
            axes.set_facecolor("none")
            axes.set_title(f"{experiment.label}, n = {_n(finding)}", fontsize=10, loc="left")
            axes.set_xticks(experiment.epsilons, [f"{epsilon:g}" for epsilon in experiment.epsilons])
            axes.set_xlabel(f"epsilon ({experiment.unit} units)")
            axes.spines[["top", "right"]].set_visible(False)
        for row in grid:
            row[0].set_ylabel(asked.label)
        handles = {
            label: line for axes in grid.flat for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False)
        with whole(path) as file:
            figure.savefig(file, dpi=150, format="png")
    return path


def _n(finding: Finding) -> int:
    return next((rate.n for rate in finding.report.rates if rate.name.endswith("|correct")), 0)


def _rates(axes: Axes, finding: Finding, drawn: Mapping[str, _Line]) -> None:
    """The rates with their 95 % intervals as bars, and crosses where the paper prints a figure."""
    epsilons = finding.report.task.epsilons
    for number, (method, line) in enumerate(drawn.items()):
        rows = [finding.row(method, epsilon) for epsilon in epsilons]
        if not all(rows):
            continue
        # Side by side, or equal rates would hide each other.
        x = [epsilon + (number - len(drawn) / 2) * _ASIDE * epsilons[-1] for epsilon in epsilons]
        y = [100 * row.measured for row in rows if row]
        spread = [[100 * (row.measured - row.low), 100 * (row.high - row.measured)] for row in rows if row]
        axes.errorbar(
            x, y, [*zip(*spread, strict=True)], color=line.colour, marker=line.marker, linestyle=line.style,
            label=line.label, elinewidth=0.6, linewidth=1.4, markersize=5,
        )  # fmt: skip
    for (method, epsilon), value in finding.experiment.paper.items():
        if method in drawn:
            axes.plot(epsilon, 100 * value, "x", color=drawn[method].colour, markersize=8, label="in the paper")
    axes.set_ylim(-2, 103)


def _times(axes: Axes, finding: Finding, drawn: Mapping[str, _Line]) -> None:
    """Seconds per image, on a logarithmic scale."""
    epsilons = finding.report.task.epsilons
    for method, line in drawn.items():
        rows = [finding.row(method, epsilon) for epsilon in epsilons]
        if all(row is not None and row.seconds for row in rows):
            y = [row.seconds for row in rows if row and row.seconds]
            axes.plot(
                epsilons, y, color=line.colour, marker=line.marker, linestyle=line.style, label=line.label,
                linewidth=1.4, markersize=5,
            )  # fmt: skip
    for (method, epsilon), value in finding.experiment.paper_seconds.items():
        if method in drawn:
            axes.plot(epsilon, value, "x", color=drawn[method].colour, markersize=8, label="in the paper")
    axes.set_yscale("log")


def save_distance_curve(nearest: NearestReport, path: Path) -> Path | None:
    """Accuracy against epsilon from the distances of the nearest examples, as stairs; None if there are none."""
    attacks = [one for one in nearest.attacks if one.distances]
    finite = [d for one in attacks for d in one.distances if math.isfinite(d)]
    if not finite:
        return None
    reach = 1.05 * max(finite)
    with mpl.rc_context({**STYLE, "font.size": 10.0}):  # type: ignore[dict-item]
        figure = Figure(figsize=(7.2, 4.2), facecolor=PAPER.light, layout="constrained")
        axes = figure.subplots()
        axes.set_facecolor("none")
        axes.spines[["top", "right"]].set_visible(False)
        several = [one for one in attacks if one.attack != BEST]
        for number, one in enumerate(several):
            colour = ATTACK.light if len(several) == 1 else mpl.colormaps["copper"](number / len(several))
            _stairs(axes, one, reach, colour, 1.6 if len(several) == 1 else 1.1)
        for one in attacks[len(several) :]:
            _stairs(axes, one, reach, ATTACK.light, 2.2)
        axes.set_xlim(0, reach)
        axes.set_ylim(0, 102)
        axes.set_xlabel(f"epsilon ({nearest.task.norm}, {nearest.task.unit} units)")
        axes.set_ylabel("robust at most, % of correct images")
        axes.set_title(f"{nearest.task.model}, n = {nearest.correct}", fontsize=10, loc="left")
        axes.legend(frameon=False, loc="upper right")
        with whole(path) as file:
            figure.savefig(file, dpi=150, format="png")
    return path


def _stairs(axes: Axes, one: Distances, reach: float, colour: Any, width: float) -> None:
    places = sorted({0.0, *(d for d in one.distances if d <= reach), reach})
    heights = [100 * one.accuracy(place) for place in places]
    axes.step(places, heights, where="post", color=colour, linewidth=width, label=one.attack)
