"""Reproductions: the tables and figures of the papers, measured again with our methods."""

from calipers.core.registry import Registry
from calipers.evaluate.reproduce import capm, critic, margin, margin_choice, margin_whitened, pdpgd, repair
from calipers.evaluate.reproduce.expected import Expected
from calipers.evaluate.reproduce.experiment import (
    FULL,
    QUICK,
    Budget,
    Curves,
    Finding,
    Reproduced,
    Reproduction,
    Sheet,
)
from calipers.evaluate.reproduce.laboratory import Laboratory
from calipers.evaluate.reproduce.relative_experiment import RelativeFinding
from calipers.evaluate.reproduce.relative_figures import Densities, Gallery, Levels, Matrix, Sweep
from calipers.evaluate.reproduce.repeated import Repeated, repeated
from calipers.evaluate.reproduce.study import StudyFinding, StudyGroup, grouped
from calipers.evaluate.reproduce.study_figure import Lines

ALL: Registry[Reproduction] = Registry("reproduction")
for _source in (capm, pdpgd, critic, margin, margin_whitened, margin_choice, repair):
    for _reproduction in _source.REPRODUCTIONS:
        ALL.add(_reproduction.name)(_reproduction)

BUDGETS: Registry[Budget] = Registry("budget")
for _budget in (QUICK, FULL):
    BUDGETS.add(_budget.name)(_budget)

__all__ = [
    "ALL",
    "BUDGETS",
    "Budget",
    "Curves",
    "Densities",
    "Expected",
    "Finding",
    "Gallery",
    "Laboratory",
    "Levels",
    "Lines",
    "Matrix",
    "RelativeFinding",
    "Repeated",
    "Reproduced",
    "Reproduction",
    "Sheet",
    "StudyFinding",
    "StudyGroup",
    "Sweep",
    "grouped",
    "repeated",
]
