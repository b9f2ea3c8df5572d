"""The figure that a reproduction asks for."""

from pathlib import Path

from calipers.evaluate.reproduce import Curves, Densities, Gallery, Levels, Lines, Matrix, Reproduced, Sheet, Sweep
from calipers.report.curves import save_curves
from calipers.report.examples import save_examples
from calipers.report.relative import save_gallery, save_levels, save_matrix
from calipers.report.relative_charts import save_densities, save_sweep
from calipers.report.study_lines import save_lines
from calipers.store.store import Store


def save_figure(store: Store, reproduced: Reproduced, path: Path) -> Path | None:
    """Draw it into `path` (*.png); None where there is none, or nothing was measured."""
    measured = reproduced.findings or reproduced.relatives or reproduced.studies
    asked = reproduced.reproduction.figure if measured else None
    match asked:
        case Curves():
            return save_curves(reproduced, asked, path)
        case Sheet():
            return save_examples(store, reproduced, path)
        case Levels():
            return save_levels(store, reproduced, path)
        case Matrix():
            return save_matrix(store, reproduced, path)
        case Gallery():
            return save_gallery(store, reproduced, path)
        case Sweep():
            return save_sweep(reproduced, asked, path)
        case Densities():
            return save_densities(reproduced, path)
        case Lines():
            return save_lines(store, reproduced, asked, path)
        case None:
            return None
