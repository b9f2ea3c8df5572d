"""Proximal operators: what makes a perturbation small in a norm, a count or any other function with one."""

from calipers.attacks.proximal.combination import ConvexCombination
from calipers.attacks.proximal.groups import PixelLargest, PixelLength
from calipers.attacks.proximal.norms import L1Prox, L2Prox, LinfProx
from calipers.attacks.proximal.operator import MetricOperator, ProximalOperator
from calipers.attacks.proximal.quasinorms import HalfProx, L0Prox, TwoThirdsProx
from calipers.attacks.proximal.variation import TotalVariationProx

__all__ = [
    "ConvexCombination",
    "HalfProx",
    "L0Prox",
    "L1Prox",
    "L2Prox",
    "LinfProx",
    "MetricOperator",
    "PixelLargest",
    "PixelLength",
    "ProximalOperator",
    "TotalVariationProx",
    "TwoThirdsProx",
]
