"""CROWN-IBP (Zhang et al. 2020): CROWN's walk from the output over intervals, given up for intervals in the end."""

from calipers.bounds import CROWN
from calipers.train.objective import Objective
from calipers.train.objectives.linear import LinearSettings, LinearTraining
from calipers.train.objectives.registry import OBJECTIVES, Inner, ObjectiveKind


def _made(settings: LinearSettings, inner: Inner) -> Objective:
    return settings.objective(LinearTraining(inner, CROWN, settings.kappa, settings.beta, settings.classes))


OBJECTIVES.add("crown-ibp")(ObjectiveKind(LinearSettings, True, _made))
