"""Bounds of a network over input sets: interval propagation and linear bounds."""

from calipers.bounds.budget import OutOfTimeError, WorkBudget
from calipers.bounds.cascade import Cascade
from calipers.bounds.ibp import IBP
from calipers.bounds.method import BoundMethod, Limited, MarginBounds
from calipers.bounds.optimised import Optimised
from calipers.bounds.propagation.forward import ForwardBounds
from calipers.bounds.propagation.linear import CAPM, CROWN, DEEPZ, FUSED, MAXLIN, PAIRED, LinearBounds
from calipers.core.registry import Registry

FORWARD = ForwardBounds("forward", FUSED)

COMBINED = Cascade("combined", (FUSED, PAIRED, MAXLIN, CAPM, CROWN))

OPTIMISED = Cascade("optimised", (COMBINED, Optimised("optimised", FUSED)))

METHODS: Registry[BoundMethod] = Registry("bound")
for _method in (IBP, DEEPZ, CAPM, CROWN, MAXLIN, FUSED, PAIRED, FORWARD, COMBINED, OPTIMISED):
    METHODS.add(_method.name)(_method)

__all__ = [
    "CAPM",
    "COMBINED",
    "CROWN",
    "DEEPZ",
    "FORWARD",
    "FUSED",
    "IBP",
    "MAXLIN",
    "METHODS",
    "OPTIMISED",
    "PAIRED",
    "BoundMethod",
    "Cascade",
    "ForwardBounds",
    "Limited",
    "LinearBounds",
    "MarginBounds",
    "WorkBudget",
    "Optimised",
    "OutOfTimeError",
]
