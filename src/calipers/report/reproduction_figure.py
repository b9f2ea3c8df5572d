"""The figure that a reproduction asks for."""

from pathlib import Path

from calipers.evaluate.reproduce import Curves, Reproduced, Sheet
from calipers.report.curves import save_curves
from calipers.report.examples import save_examples
from calipers.store.store import Store


def save_figure(store: Store, reproduced: Reproduced, path: Path) -> Path | None:
    """Draw it into `path` (*.png); None where there is none, or nothing was measured."""
    asked = reproduced.reproduction.figure if reproduced.findings else None
    match asked:
        case Curves():
            return save_curves(reproduced, asked, path)
        case Sheet():
            return save_examples(store, reproduced, path)
        case None:
            return None
