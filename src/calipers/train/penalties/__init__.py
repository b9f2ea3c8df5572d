"""Terms that go on top of any loss, one file each; importing this fills the registry."""

from calipers.train.penalties import (  # noqa: F401  # they register themselves
    contractive,
    curvature,
    double_backprop,
    l1,
    parseval,
)
from calipers.train.penalties.penalty import PENALTIES, Penalties, Penalty

__all__ = ["PENALTIES", "Penalties", "Penalty"]
