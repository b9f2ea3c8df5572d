"""Bounds of a network over input sets: interval propagation and linear bounds."""

from calipers.bounds.budget import MemoryBudget
from calipers.bounds.ibp import IBP
from calipers.bounds.linear import CAPM
from calipers.bounds.method import BoundMethod, MarginBounds
from calipers.core.registry import Registry

METHODS: Registry[BoundMethod] = Registry("bound")
for _method in (IBP, CAPM):
    METHODS.add(_method.name)(_method)

__all__ = ["CAPM", "IBP", "METHODS", "BoundMethod", "MarginBounds", "MemoryBudget"]
