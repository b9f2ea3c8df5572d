"""CROWN-IBP (Zhang et al. 2020): CROWN's walk from the output over intervals, given up for intervals in the end."""

from calipers.bounds import CROWN
from calipers.train.objectives.linear import LinearSettings, LinearTraining
from calipers.train.objectives.registry import OBJECTIVES, ObjectiveKind

OBJECTIVES.add("crown-ibp")(
    ObjectiveKind(
        LinearSettings,
        True,
        lambda settings, inner: settings.objective(LinearTraining(inner, CROWN, settings.kappa, settings.beta)),
    )
)
