"""Rows over an inner node that are bounded with planes of their own, and what their bounds say of the node."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from calipers.check.layers import Array
from calipers.check.network import Maximum
from calipers.check.planes import Interval, Slopes


@dataclass(frozen=True, eq=False)
class Tightened:
    """Rows over the node at `position` that are bounded with planes of their own: entry `plus` minus entry `minus`.

    plus, minus: (rows,) flat entries, -1 for none. row, place, weight: by maximum before the node, the weights of
    candidates in the planes below that differ from the part's, with the row and the flat place (candidate, output).
    """

    position: int
    plus: Array
    minus: Array
    row: Mapping[int, Array]
    place: Mapping[int, Array]
    weight: Mapping[int, Array]

    def below(self, position: int, slopes: Slopes, rows: slice) -> Array:
        """Weights at an earlier maximum for some rows, (rows, candidates, outputs)."""
        count = len(self.plus[rows])
        weights = np.repeat(slopes.below[None], count, 0)
        row = self.row[position] - (rows.start or 0)
        mine = (row >= 0) & (row < count)
        weights.reshape(count, -1)[row[mine], self.place[position][mine]] = self.weight[position][mine]
        return weights

    def rows(self, part: slice, shape: tuple[int, ...]) -> Array:
        """Some of the rows, (rows, *shape). Raises IndexError for entries that the node does not have."""
        plus, minus = self.plus[part], self.minus[part]
        rows = np.zeros((len(plus), *shape))
        flat, count = rows.reshape(len(plus), -1), np.arange(len(plus))
        for entry, sign in ((plus, 1.0), (minus, -1.0)):
            flat[count[entry >= 0], entry[entry >= 0]] += sign
        return rows

    def narrowed(self, interval: Interval, lower: Array) -> Interval:
        """The node's interval, given lower bounds of the rows: those of single entries count."""
        low, high = interval.lower.reshape(-1).copy(), interval.upper.reshape(-1).copy()
        single = (self.plus >= 0) & (self.minus < 0)
        np.maximum.at(low, self.plus[single], lower[single])
        single = (self.minus >= 0) & (self.plus < 0)
        np.minimum.at(high, self.minus[single], -lower[single])
        shape = interval.lower.shape
        return Interval(low.reshape(shape), high.reshape(shape))

    def apart(self, maximum: Maximum, difference: Array, lower: Array) -> Array:
        """Upper bounds of entry k minus entry j of a maximum over the node, given lower bounds of the rows."""
        pair = (self.plus >= 0) & (self.minus >= 0)
        if not pair.any():
            return difference
        size = int(max(maximum.entry.max(), self.plus.max(), self.minus.max())) + 1
        code = self.minus[pair].astype(np.int64) * size + self.plus[pair]
        order = np.argsort(code)
        code, upper = code[order], -lower[pair][order]
        one, two = maximum.entry[:, None], maximum.entry[None]
        wanted = one.astype(np.int64) * size + two
        found = np.minimum(np.searchsorted(code, wanted), len(code) - 1)
        known = (code[found] == wanted) & (one >= 0) & (two >= 0)
        return np.where(known, np.minimum(difference, upper[found]), difference)
