"""What every kind of run shows of itself: `frame.VIEWS`, filled."""

from collections.abc import Iterator
from dataclasses import replace

from rich.console import RenderableType

from calipers.core.tasks import Run
from calipers.evaluate import families, training
from calipers.evaluate.comparison import task as comparison
from calipers.evaluate.relative import task as relative
from calipers.evaluate.repair import task as repair
from calipers.evaluate.reproduce import study
from calipers.evaluate.robustness import task as robustness
from calipers.evaluate.robustness.measure import refresh
from calipers.report.comparison import comparison_view
from calipers.report.family import family_view
from calipers.report.frame import VIEWS, View, view_of
from calipers.report.load import load_report
from calipers.report.nearest import load_nearest
from calipers.report.numbers import rates_json
from calipers.report.relative import relative_view
from calipers.report.repair import repair_view
from calipers.report.studies import study_view
from calipers.report.terminal import terminal_parts
from calipers.report.training import training_view
from calipers.store.store import Store

__all__ = ["VIEWS", "View", "view_of"]

VIEWS.add(families.KIND)(family_view)
VIEWS.add(training.KIND)(training_view)
VIEWS.add(relative.KIND)(relative_view)
VIEWS.add(comparison.KIND)(comparison_view)
VIEWS.add(repair.KIND)(repair_view)
VIEWS.add(study.KIND)(study_view)


@VIEWS.add(robustness.KIND)
def robustness_view(store: Store, run: Run) -> View:
    """Both jaws, and the distances that minimum-norm attacks found."""
    refresh(store, run.run_id)  # a run that was killed was never summed up
    report = load_report(store, run.run_id)
    searched = any(method.minimum_norm for method in report.numbers.task.attacks)
    nearest = load_nearest(store, run.run_id) if searched else None

    def terminal(width: int) -> Iterator[RenderableType]:
        yield from terminal_parts(report, width)
        if nearest is not None:
            yield nearest.table(width)

    return replace(report.view, terminal=terminal, rows=rates_json(report.numbers))
