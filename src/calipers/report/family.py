"""The page of a family of VNN-LIB instances."""

from collections import Counter

import calipers
from calipers.core.tasks import Run
from calipers.evaluate.families import scores_of
from calipers.report.frame import TemplateSection, View
from calipers.report.instances import score_json, score_table
from calipers.report.wording import seconds
from calipers.store.store import Store


def family_view(store: Store, run: Run) -> View:
    """How many instances were decided, and every answer beside what others found."""
    scores = scores_of(store, run.run_id)
    numbers = score_json(scores, run.command) if scores else {"command": run.command, "rows": [], "warnings": []}
    spent = [score.answer.seconds for score in scores if score.answer is not None]
    context = {
        "title": run.title,
        "status": run.status,
        "asked": len(run.task["instances"]),
        "scores": scores,
        "decided": sum(score.decided for score in scores),
        "counts": Counter(score.word for score in scores).most_common(),
        "contradictions": [score for score in scores if score.contradicts],
        "total": seconds(sum(spent, 0.0)),
        "seconds": seconds,
        "command": run.command,
    }
    return View(
        run_id=run.run_id,
        title=run.title,
        label="VNN-LIB family",
        version=calipers.__version__,
        sections=(TemplateSection("family.html.j2", context),),
        numbers=numbers,
        rows=numbers,
        terminal=lambda width: [score_table(scores)],
    )
