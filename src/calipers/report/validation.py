"""How a training validated, epoch by epoch."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from calipers.report.palette import ATTACK, INK, MUTED
from calipers.report.svg import NARROW, WIDE, Chart, draw
from calipers.report.wording import percent
from calipers.train.checkpoint import EpochRecord

CLEAN, ROBUST = "validation_accuracy", "validation_robust"


def best_epoch(epochs: Sequence[EpochRecord]) -> int | None:
    """Place of the epoch that validated best, of equals the first; None where nothing validates."""
    decisive = ROBUST if any(ROBUST in one.metrics for one in epochs) else CLEAN
    scores = [one.metrics.get(decisive, -1.0) for one in epochs]
    return scores.index(max(scores)) if scores and max(scores) >= 0 else None


def chosen(epochs: Sequence[EpochRecord], asked: int) -> str:
    """Which epoch's weights were saved, and whether the training ended early; nothing where it is the last one."""
    best = best_epoch(epochs)
    if best is None or not epochs[-1].ended:
        return ""
    early = f"It ended early, before its {asked} epochs were over, for want of gain. " if len(epochs) < asked else ""
    score = epochs[best].metrics.get(ROBUST, epochs[best].metrics[CLEAN])
    under = " under PGD" if ROBUST in epochs[best].metrics else ""
    return f"{early}The weights are those of epoch {best + 1}, which validated best: {percent(score)} correct{under}."


def validation_chart(epochs: Sequence[EpochRecord]) -> Chart | None:
    """Accuracy on what was held back; None where nothing validates."""
    best = best_epoch(epochs)
    if best is None:
        return None
    numbers = [one.epoch + 1 for one in epochs]

    def paint(axes: Axes) -> None:
        axes.axvline(numbers[best], color=MUTED.light, linewidth=0.9, linestyle=(0, (1, 3)))
        for name, colour, style in ((CLEAN, INK.light, "-"), (ROBUST, ATTACK.light, "--")):
            if name in epochs[-1].metrics:
                values = [100 * one.metrics[name] for one in epochs]
                axes.plot(numbers, values, color=colour, linewidth=2, linestyle=style, marker="o", markersize=3)
        axes.set_xlabel("epoch")
        axes.set_xlim(0.5, len(epochs) + 0.5)
        axes.set_ylim(0, 100.6)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
        axes.spines[["top", "right"]].set_visible(False)

    last = "; ".join(f"{name.replace('_', ' ')} {percent(value)}" for name, value in epochs[best].metrics.items()
                     if name in (CLEAN, ROBUST))  # fmt: skip
    alt = f"Validation against epoch; epoch {best + 1} is the best: {last}."
    return Chart(draw(WIDE, "validation", 11.0, paint), draw(NARROW, "validation", 11.0, paint), alt)
