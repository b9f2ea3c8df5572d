"""Charts of relative perturbations: against a weight of the training, and how they are distributed over images."""

import math
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import gaussian_kde

from calipers.core.files import whole
from calipers.evaluate.reproduce import Repeated, Reproduced, Sweep, repeated
from calipers.report.palette import ATTACK, MUTED, PAPER, PROOF
from calipers.report.svg import STYLE

# Of the spread over runs, as in the thesis.
_BAND = 3
_POINTS = 300
# By the order in which defences come: none at all in grey, those of the thesis in the colours of the page.
_LINES = (
    (MUTED.light, "-"),
    (MUTED.light, ":"),
    (PROOF.light, "--"),
    (PROOF.light, "-"),
    (ATTACK.light, "-"),
    (ATTACK.light, "--"),
)


def save_sweep(reproduced: Reproduced, asked: Sweep, path: Path) -> Path:
    """Draw test errors, and below mean relative perturbations, against the weight into `path` (*.png)."""
    groups = sorted(repeated(reproduced.relatives), key=lambda group: group.findings[0].experiment.weight or 0.0)
    weights = [group.findings[0].experiment.weight or 0.0 for group in groups]
    with mpl.rc_context({**STYLE, "font.size": 10.0}):  # type: ignore[dict-item]
        figure = Figure(figsize=(6.4, 5.2), facecolor=PAPER.light, layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        measures = [group.measures for group in groups]
        _band(above, weights, [100 * np.array(of[0].values) for of in measures], PROOF.light)
        above.set_ylabel("test error, %")
        _band(below, weights, [np.array(of[-1].values) for of in measures], ATTACK.light)
        below.set_ylabel(f"{measures[0][-1].name}, of ‖x‖")
        below.set_xscale("log")
        below.set_xticks(weights, [f"{weight:g}" for weight in weights])
        below.minorticks_off()
        below.set_xlabel(asked.label)
        for axes in (above, below):
            axes.set_facecolor("none")
            axes.set_ylim(bottom=0)
            axes.spines[["top", "right"]].set_visible(False)
        runs = sorted({len(group.findings) for group in groups})
        above.set_title(
            f"{' or '.join(map(str, runs))} runs each; band: mean ± {_BAND} spreads", fontsize=10, loc="left"
        )
        with whole(path) as file:
            figure.savefig(file, dpi=150, format="png")
    return path


def _band(axes: Axes, x: list[float], runs: list[np.ndarray], colour: str) -> None:
    """The mean with its band, and every run as a dot."""
    mean = np.array([values.mean() if len(values) else math.nan for values in runs])
    spread = np.array([values.std(ddof=1) if len(values) > 1 else 0.0 for values in runs])
    axes.fill_between(
        x, np.maximum(mean - _BAND * spread, 0), mean + _BAND * spread, color=colour, alpha=0.16, linewidth=0
    )
    axes.plot(x, mean, color=colour, marker="o", markersize=4, linewidth=1.8)
    for place, values in zip(x, runs, strict=True):
        axes.plot([place] * len(values), values, ".", color=colour, alpha=0.55, markersize=4)


def save_densities(reproduced: Reproduced, path: Path) -> Path:
    """Draw kernel density estimates of ||r|| / ||x|| over images, one panel per first word of labels, into `path`.

    Short lines at the foot stand at the means.
    """
    groups = repeated(reproduced.relatives)
    panels = list(dict.fromkeys(group.label.partition(" ")[0] for group in groups))
    defences = list(dict.fromkeys(group.label.partition(" ")[2] for group in groups))
    with mpl.rc_context({**STYLE, "font.size": 10.0}):  # type: ignore[dict-item]
        size = (1.2 + 4.4 * len(panels), 4.4)
        figure = Figure(figsize=size, facecolor=PAPER.light, layout="constrained")
        (line,) = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)
        for axes, panel in zip(line, panels, strict=True):
            for group in groups:
                first, _, defence = group.label.partition(" ")
                if first == panel:
                    _density(axes, group, defence, _LINES[defences.index(defence) % len(_LINES)])
            axes.set_facecolor("none")
            axes.set_title(panel, fontsize=10, loc="left")
            axes.set_xlabel(f"‖r‖ / ‖x‖, {groups[0].findings[0].relatives[0].aim}")
            axes.spines[["top", "right"]].set_visible(False)
            axes.set_xlim(left=0)
            axes.set_ylim(bottom=0)
        line[0].set_ylabel("density over images and runs")
        handles = {name: h for axes in line for h, name in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, frameon=False)
        with whole(path) as file:
            figure.savefig(file, dpi=150, format="png")
    return path


def _density(axes: Axes, group: Repeated, defence: str, drawn: tuple[str, str]) -> None:
    """The images of all runs; no curve where they are too few or all the same."""
    ratios = np.array([ratio for finding in group.findings for ratio in finding.relatives[0].ratios])
    if len(ratios) < 2 or np.ptp(ratios) == 0:
        return
    places = np.linspace(0, 1.1 * ratios.max(), _POINTS)
    colour, line = drawn
    axes.plot(places, gaussian_kde(ratios)(places), line, color=colour, linewidth=1.8, label=defence)
    axes.axvline(ratios.mean(), ymax=0.05, color=colour, linestyle=line, linewidth=1.8)
