"""The page of a training run: learning curves, and every epoch in a table."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from rich import box
from rich.table import Table

import calipers
from calipers.core.tasks import Run
from calipers.evaluate.training import history_of
from calipers.report.frame import TemplateSection, View
from calipers.report.palette import ATTACK, PROOF
from calipers.report.svg import NARROW, WIDE, Chart, draw
from calipers.report.validation import chosen, validation_chart
from calipers.report.wording import percent, seconds
from calipers.store.store import Store
from calipers.train.checkpoint import EpochRecord


def training_view(store: Store, run: Run) -> View:
    """How the loss fell, and where it ended."""
    epochs, accuracies = history_of(store, run.run_id)
    recipe = run.task["recipe"]
    names = list(dict.fromkeys(name for record in epochs for name in record.metrics))
    spent = sum((record.seconds for record in epochs), 0.0)
    numbers = _numbers(run, epochs, accuracies)
    context = {
        "title": run.title,
        "status": run.status,
        "epochs": epochs,
        "asked": recipe["epochs"],
        "names": names,
        "accuracies": accuracies,
        "chart": _chart(epochs) if epochs else None,
        "validation": validation_chart(epochs),
        "chosen": chosen(epochs, recipe["epochs"]),
        "spent": seconds(spent),
        "seconds": seconds,
        "percent": percent,
        "recipe": recipe,
        "card": run.task["card"],
        "command": run.command,
    }
    return View(
        run_id=run.run_id,
        title=run.title,
        label="Training history",
        version=calipers.__version__,
        sections=(TemplateSection("training.html.j2", context),),
        numbers=numbers,
        rows=numbers,
        terminal=lambda width: [_table(epochs, names, accuracies)],
    )


def _numbers(run: Run, epochs: list[EpochRecord], accuracies: dict[str, float]) -> dict[str, Any]:
    rows = [
        {"name": name, "measured": value, "paper": None, "n": 1, "low": None, "high": None, "unit": name,
         "seconds": record.seconds, "epoch": record.epoch}
        for record in epochs
        for name, value in record.metrics.items()
    ]  # fmt: skip
    rows += [
        {"name": name, "measured": value, "paper": None, "n": 1, "low": None, "high": None, "unit": "fraction",
         "seconds": None, "epoch": None}
        for name, value in accuracies.items()
    ]  # fmt: skip
    seed = run.task["recipe"]["seed"]
    return {"command": run.command, "version": calipers.__version__, "seed": seed, "rows": rows, "warnings": []}


def _chart(epochs: list[EpochRecord]) -> Chart:
    last = epochs[-1].metrics["loss"]
    alt = f"Loss against epoch: {epochs[0].metrics['loss']:.3g} in the first, {last:.3g} in epoch {len(epochs)}."

    def paint(axes: Axes) -> None:
        numbers = [record.epoch + 1 for record in epochs]
        axes.plot(
            numbers, [r.metrics["loss"] for r in epochs], color=PROOF.light, linewidth=2, marker="o", markersize=3
        )
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss, mean of the epoch")
        axes.set_ylim(bottom=0)
        axes.set_xlim(0.5, len(epochs) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        rates = [record.learning_rate for record in epochs]
        if len(set(rates)) > 1:
            other = axes.twinx()
            other.plot(numbers, rates, color=ATTACK.light, linewidth=1, linestyle="--")
            other.set_ylabel("learning rate (dashed)")
            other.set_ylim(bottom=0)
            other.spines[["top"]].set_visible(False)

    return Chart(draw(WIDE, "loss", 11.0, paint), draw(NARROW, "loss", 11.0, paint), alt)


def _table(epochs: list[EpochRecord], names: list[str], accuracies: dict[str, float]) -> Table:
    ends = ", ".join(f"{name.replace('_', ' ')} {percent(value)}" for name, value in accuracies.items())
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=ends or None, title_justify="left", title_style="bold")
    for head in ("epoch", *names, "learning rate", "time"):
        table.add_column(head, justify="right")
    for record in epochs:
        values = (f"{record.metrics.get(name, float('nan')):.4g}" for name in names)
        table.add_row(str(record.epoch + 1), *values, f"{record.learning_rate:.3g}", seconds(record.seconds))
    return table
