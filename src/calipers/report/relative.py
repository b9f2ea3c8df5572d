"""Relative perturbations: the page of a run, and tables and figures of a reproduction."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from rich import box
from rich.table import Table
from rich.text import Text

import calipers
from calipers.core.files import whole
from calipers.core.tables import to_json
from calipers.core.tasks import Run
from calipers.evaluate.relative.statistics import OF_IMAGE, OF_WHITENED, Relative, relatives_of
from calipers.evaluate.relative.task import CODEC, RelativeRecord, RelativeTask
from calipers.evaluate.reproduce import RelativeFinding, Reproduced
from calipers.report.examples import draw_picture, head_row
from calipers.report.frame import TemplateSection, View
from calipers.report.palette import INK, PAPER, WRONG
from calipers.report.svg import STYLE
from calipers.report.wording import number, percent, seconds
from calipers.store.store import Store

_SIDE = 0.72  # inches


def relative_view(store: Store, run: Run) -> View:
    """The mean relative perturbation of every aim."""
    relatives = relatives_of(store.records(run.run_id, CODEC), [aim["name"] for aim in run.task["aims"]])
    unit = OF_WHITENED if run.task.get("whitened") else OF_IMAGE
    numbers = to_json(run.command, [row for one in relatives for row in one.rows(unit=unit)], run.task["seed"])
    context = {
        "title": run.title,
        "status": run.status,
        "relatives": relatives,
        "asked": len(run.task["samples"]),
        "error": store.metric(run.run_id, "error"),
        "unit": unit,
        "whitened": unit == OF_WHITENED,
        "number": number,
        "percent": percent,
        "seconds": seconds,
        "command": run.command,
    }
    return View(
        run_id=run.run_id,
        title=run.title,
        label="Relative perturbations",
        version=calipers.__version__,
        sections=(TemplateSection("relative.html.j2", context),),
        numbers=numbers,
        rows=numbers,
        terminal=lambda width: [_run_table(relatives)],
    )


def _run_table(relatives: Sequence[Relative]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("attack")
    for head in ("rho", "95 %", "reached", "n", "per image"):
        table.add_column(head, justify="right")
    for one in relatives:
        low, high = one.interval
        share = percent(len(one.ratios) / len(one.records))
        spread = f"{number(low)} to {number(high)}"
        table.add_row(one.aim, number(one.rho), spread, share, str(len(one.records)), seconds(one.seconds))
    return table


def relative_table(findings: Sequence[RelativeFinding]) -> Table:
    """A line per network: test error, then the mean relative perturbation by every aim, the paper's below."""
    aims = list(dict.fromkeys(one.aim for finding in findings for one in finding.relatives))
    title = "Mean of ||r|| / ||x|| with 95 % intervals, over all images for which the aim was reached"
    table = Table(title=title, title_justify="left", title_style="dim", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("network")
    for head in ("n", "test error", *aims):
        table.add_column(head, justify="right", no_wrap=True)
    for finding in findings:
        experiment = finding.experiment
        found = {one.aim: one for one in finding.relatives}
        paper = None if experiment.paper_error is None else percent(experiment.paper_error, 2)
        table.add_row(
            experiment.label,
            str(len(finding.task.samples)),
            _beside(Text(percent(finding.error, 2)), paper),
            *(_cell(found.get(aim), experiment.paper.get(aim)) for aim in aims),
            end_section=True,
        )
    return table


def _cell(one: Relative | None, paper: float | None) -> Text:
    if one is None:
        return Text("")
    if not one.ratios:
        return _beside(Text("none reached", style="dim"), None if paper is None else number(paper))
    low, high = one.interval
    text = Text.assemble((number(one.rho), "bold yellow"), (f"\n{number(low)} to {number(high)}", "dim"))
    if len(one.ratios) < len(one.records):
        text.append(f"\nof {percent(len(one.ratios) / len(one.records))}", "dim")
    return _beside(text, None if paper is None else number(paper))


def _beside(measured: Text, paper: str | None) -> Text:
    return measured if paper is None else Text.assemble(measured, (f"\npaper {paper}", "dim"))


def save_levels(store: Store, reproduced: Reproduced, path: Path) -> Path:
    """Draw the images of the first experiment and, row by row, what each aim made of them, into `path` (*.png)."""
    finding = reproduced.relatives[0]
    pictures = _pictures(store, finding)
    rows = [("original", pictures[finding.task.aims[0].name][0], [""] * len(finding.task.samples))]
    for one in finding.relatives:
        records = _in_order(one, finding.task)
        words = [f"{r.after}, {100 * r.confidence:.0f} %" if r.distance else "not found" for r in records]
        rows.append((one.aim, pictures[one.aim][1], words))
    return _draw(rows, path)


def save_gallery(store: Store, reproduced: Reproduced, path: Path) -> Path:
    """Draw the images, then row by row what the first aim made of them on each network, into `path` (*.png).

    Below each stand the class it is taken for and ||r|| / ||x||.
    """
    first = reproduced.relatives[0]
    name = first.task.aims[0].name
    rows = [("original", _pictures(store, first)[name][0], [""] * len(first.task.samples))]
    for finding in reproduced.relatives:
        words = [_became(record) for record in _in_order(finding.relatives[0], finding.task)]
        rows.append((finding.experiment.label, _pictures(store, finding)[name][1], words))
    return _draw(rows, path)


def _in_order(one: Relative, task: RelativeTask) -> list[RelativeRecord]:
    """The records as the task has the images, which is the order of the pictures."""
    records = {record.sample: record for record in one.records}
    return [records[sample] for sample in task.samples]


def _became(record: RelativeRecord) -> str:
    if record.before != record.label:
        return f"{record.before} as it is"
    return "not found" if record.distance is None else f"{record.after} at {record.distance / record.size:.2f}"


def save_matrix(store: Store, reproduced: Reproduced, path: Path) -> Path:
    """Draw a row per image and a column per target, one experiment below the other, into `path` (*.png)."""
    rows = []
    for finding in reproduced.relatives:
        pictures = _pictures(store, finding)
        columns = [_in_order(one, finding.task) for one in finding.relatives]
        for place, records in enumerate(zip(*columns, strict=True)):
            images = np.stack([pictures[one.aim][1][place] for one in finding.relatives])
            words = ["" if r.distance == 0 else _said(r.distance, r.confidence) for r in records]
            method = finding.experiment.label.rpartition(", ")[2]
            rows.append((f"{records[0].label}\n{method}" if place == 0 else str(records[0].label), images, words))
    return _draw(rows, path)


def _said(distance: float | None, confidence: float) -> str:
    return "not found" if distance is None else f"{100 * confidence:.0f} %"


def _pictures(store: Store, finding: RelativeFinding) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By aim, images and what came out."""
    units: dict[str, list[str]] = {aim.name: [] for aim in finding.task.aims}
    for number_, aim in enumerate(finding.task.aims):
        for first in range(0, len(finding.task.samples), finding.task.batch_size):
            units[aim.name].append(f"aim-{number_:02d}-{first:06d}")
    arrays = {name: [store.arrays(finding.run_id, unit) for unit in parts] for name, parts in units.items()}
    return {
        name: (np.concatenate([a["image"] for a in parts]), np.concatenate([a["found"] for a in parts]))
        for name, parts in arrays.items()
    }


def _draw(rows: Sequence[tuple[str, np.ndarray, Sequence[str]]], path: Path) -> Path:
    """Rows of pictures, each with its head and the words under its pictures."""
    columns = max(len(images) for _, images, _ in rows)
    with mpl.rc_context({**STYLE, "font.size": 9.0}):  # type: ignore[dict-item]
        size = (2.2 + _SIDE * columns, 0.3 + (_SIDE + 0.2) * len(rows))
        figure = Figure(figsize=size, facecolor=PAPER.light, layout="constrained")
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for line, (head, images, words) in zip(grid, rows, strict=True):
            for axes, image, said in zip(line, images, words, strict=True):
                draw_picture(axes, image)
                colour = WRONG.light if said == "not found" else INK.light
                axes.set_xlabel(said, fontsize=7, labelpad=2, color=colour)
            head_row(line[0], head, "")
        with whole(path) as file:
            figure.savefig(file, dpi=150, format="png")
    return path
