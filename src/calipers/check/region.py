"""Sets of inputs for the checker: a box, and inside it a ball of l2 or l1 where there is one."""

from dataclasses import dataclass

import numpy as np

from calipers.check.layers import Array
from calipers.check.rounding import above, below, gamma


@dataclass(frozen=True, eq=False)
class Region:
    """lower <= x <= upper, and ||(x - center) / reach||_norm <= 1 if norm is l2 or l1. All have the input's shape."""

    lower: Array
    upper: Array
    center: Array
    reach: Array
    norm: str

    @classmethod
    def ball(
        cls, center: Array, radius: float, scale: Array, norm: str, domain: tuple[float, float] | None
    ) -> "Region":
        """||(x - center) / scale|| <= radius within the domain, the box rounded outwards."""
        reach = above(radius * np.broadcast_to(scale, center.shape))
        lower, upper = below(center - reach), above(center + reach)
        if domain is not None:
            lower, upper = lower.clip(*domain), upper.clip(*domain)
        return cls(lower, upper, center, reach, norm)

    @classmethod
    def box(cls, lower: Array, upper: Array) -> "Region":
        middle = lower / 2 + upper / 2
        return cls(lower, upper, middle, above(np.maximum(upper - middle, middle - lower)), "linf")

    def halved(self, axis: int, cut: float, high: bool) -> "Region":
        """The part of a box on one side of a cut of one flat input."""
        lower, upper = self.lower.copy(), self.upper.copy()
        (lower if high else upper).flat[axis] = cut
        return Region.box(lower, upper)

    def lowest(self, rows: Array) -> Array:
        """Lower bounds of linear functionals (rows, *shape) over the set, rounding included."""
        flat = rows.reshape(len(rows), -1)
        size = np.abs(flat)
        low, high = self.lower.ravel(), self.upper.ravel()
        largest = np.maximum(np.abs(low), np.abs(high))
        value = np.where(flat > 0, flat * low, flat * high).sum(1) - gamma(flat.shape[1]) * (size @ largest)
        if self.norm == "linf":
            return value
        center, reach = self.center.ravel(), self.reach.ravel()
        weighted = size * reach
        dual = np.sqrt((weighted**2).sum(1)) if self.norm == "l2" else weighted.max(1)
        error = gamma(2 * flat.shape[1]) * (size @ (np.abs(center) + reach))
        return np.maximum(value, flat @ center - dual - error)
