"""Objectives, one file each; importing this fills the registry."""

from calipers.train.objectives import (  # noqa: F401  # they register themselves
    capm,
    critic,
    crown_ibp,
    distillation,
    dropout,
    ensemble,
    fast,
    fgsm,
    ibp,
    margin,
    mtl_ibp,
    pgd,
    sabr,
    standard,
    trades,
    vat,
)
from calipers.train.objectives.registry import OBJECTIVES, ObjectiveKind

__all__ = ["OBJECTIVES", "ObjectiveKind"]
