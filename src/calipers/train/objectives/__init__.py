"""Objectives, one file each; importing this fills the registry."""

from calipers.train.objectives import fgsm, ibp, pgd, standard, trades  # noqa: F401  # they register themselves
from calipers.train.objectives.registry import OBJECTIVES, NoSettings, ObjectiveKind

__all__ = ["OBJECTIVES", "NoSettings", "ObjectiveKind"]
