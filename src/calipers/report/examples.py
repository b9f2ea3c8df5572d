"""A sheet of adversarial examples: a column per image, a row per network and distance."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from calipers.core.files import whole
from calipers.evaluate.reproduce import Finding, Reproduced
from calipers.evaluate.robustness.measure import records_of
from calipers.evaluate.robustness.plan import clean_units, method_units
from calipers.evaluate.robustness.records import Outcome, Question
from calipers.report.palette import INK, MUTED, PAPER, WRONG
from calipers.report.svg import STYLE
from calipers.report.wording import number
from calipers.store.store import Store

_SIDE = 0.72  # inches


def save_examples(store: Store, reproduced: Reproduced, path: Path) -> Path:
    """Draw the sheet into `path` (*.png).

    Below each example stand the class it is taken for and its distance; images that are wrong as they are have none.
    """
    findings = reproduced.findings
    originals = _arrays(store, findings[0], Question.CLEAN, "image")
    with mpl.rc_context({**STYLE, "font.size": 9.0}):  # type: ignore[dict-item]
        size = (1.6 + _SIDE * len(originals), 0.3 + (_SIDE + 0.2) * (1 + len(findings)))
        figure = Figure(figsize=size, facecolor=PAPER.light, layout="constrained")
        grid = figure.subplots(1 + len(findings), len(originals), squeeze=False)
        for axes, image in zip(grid[0], originals, strict=True):
            draw_picture(axes, image)
        head_row(grid[0][0], "original", "")
        for row, finding in zip(grid[1:], findings, strict=True):
            experiment = finding.experiment
            examples = _arrays(store, finding, Question.ATTACK, "adversarial")
            records = {
                r.sample_id: r for r in records_of(store, finding.report.run_id) if r.question is Question.ATTACK
            }
            for sample, (axes, image) in enumerate(zip(row, examples, strict=True)):
                record = records[sample]
                draw_picture(axes, image)
                broken = record.outcome is Outcome.BROKEN and record.distance
                words = f"{record.prediction} at {number(record.distance)}" if broken else "wrong as it is"
                axes.set_xlabel(words, fontsize=7, labelpad=2, color=INK.light if broken else WRONG.light)
            head_row(row[0], experiment.label, str(experiment.distance))
        with whole(path) as file:
            figure.savefig(file, dpi=150, format="png")
    return path


def _arrays(store: Store, finding: Finding, kind: Question, name: str) -> np.ndarray:
    """An array of all samples of a run, of the first unit of each batch."""
    task = finding.report.task
    units = [unit for unit in (*clean_units(task), *method_units(task)) if unit.question is kind]
    first = [unit for unit in units if unit.method == units[0].method]
    return np.concatenate([store.arrays(finding.report.run_id, unit.name)[name] for unit in first])


def draw_picture(axes: Axes, image: np.ndarray) -> None:
    """An image of shape (channels, height, width) on [0, 1]."""
    shown = np.moveaxis(image, 0, -1).clip(0, 1)
    axes.imshow(shown if shown.shape[2] == 3 else shown[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def head_row(axes: Axes, network: str, distance: str) -> None:
    """Words to the left of a row of pictures."""
    words = f"{network}\n{distance}" if distance else network
    axes.set_ylabel(words, rotation=0, ha="right", va="center", fontsize=8, labelpad=6, color=MUTED.light)
