"""Bounds of every value of a network over a region, recomputed from slopes that nobody vouches for.

Slopes are suggestions: the offsets that make planes of them are worked out here, so that any slopes give true bounds
and bad ones merely loose bounds. Every bound is widened by what float64 can have rounded away on the way to it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from calipers.check.layers import Array, order_error
from calipers.check.network import Maximum, Network, Node, Smooth, apply, candidates
from calipers.check.planes import Interval, Planes, Slopes, plane_below, planes_of
from calipers.check.region import Region
from calipers.check.rounding import deployed_gamma, gamma
from calipers.check.tightened import Tightened

# Rows that walk together; their coefficients are arrays of the widest value's size.
_ROWS = 256


@dataclass(frozen=True, eq=False)
class Split:
    """Candidate `kept` of an output of the maximum at `position` is at least candidate `dropped`; the floor is last."""

    position: int
    output: int
    kept: int
    dropped: int


@dataclass(frozen=True, eq=False)
class Enclosure:
    """A network over a region: an interval for every node and planes for every nonlinearity.

    differences: by maximum, upper bounds of its entries' differences, as `planes_of` takes them.
    """

    network: Network
    region: Region
    intervals: tuple[Interval, ...]
    planes: Mapping[int, Planes]
    differences: Mapping[int, Array]

    @classmethod
    def of(
        cls,
        network: Network,
        region: Region,
        slopes: Mapping[int, Slopes],
        *,
        paired: bool = False,
        tightened: Sequence[Tightened] = (),
    ) -> "Enclosure":
        """Layer by layer; what decides a nonlinearity gets the better of intervals and a walk. KeyError: no slopes.

        paired: bound the differences of maxima's candidates too. tightened: rows with planes of their own.
        """
        evidence = {rows.position: rows for rows in tightened}
        bounded: dict[int, Array] = {}
        intervals: list[Interval] = []
        planes: dict[int, Planes] = {}
        differences: dict[int, Array] = {}
        for position, node in enumerate(network.nodes):
            if paired and isinstance(node.layer, Maximum) and len(node.layer.entry) > 1:
                so_far = cls(network, region, tuple(intervals), planes, differences)
                differences[position] = so_far._differences(node.inputs[0], node.layer)
                if node.inputs[0] in evidence:
                    own, lower = evidence[node.inputs[0]], bounded[node.inputs[0]]
                    differences[position] = own.apart(node.layer, differences[position], lower)
            if isinstance(node.layer, Maximum | Smooth):
                given, known = intervals[node.inputs[0]], differences.get(position)
                planes[position] = planes_of(node.layer, slopes[position], given, (), known)
            intervals.append(_forward(node, [intervals[i] for i in node.inputs], region))
            wanted = _wanted(network, region, position, intervals[-1])
            if len(wanted):
                so_far = cls(network, region, tuple(intervals), planes, differences)
                intervals[-1] = so_far._refined(position, wanted)
            if position in evidence:
                so_far = cls(network, region, tuple(intervals), planes, differences)
                bounded[position] = so_far._bounded(evidence[position], slopes)
                intervals[-1] = evidence[position].narrowed(intervals[-1], bounded[position])
        return cls(network, region, tuple(intervals), planes, differences)

    def split(self, splits: Sequence[Split], slopes: Mapping[int, Slopes]) -> "Enclosure | None":
        """The part where splits hold, with slopes of its own; None if they contradict each other."""
        intervals = [Interval(i.lower.copy(), i.upper.copy()) for i in self.intervals]
        for split in splits:
            maximum, source = _maximum(self.network, split.position)
            lower, upper = intervals[source].lower.reshape(-1), intervals[source].upper.reshape(-1)
            kept, dropped = (_entry(maximum, c, split.output) for c in (split.kept, split.dropped))
            floor = maximum.floor or 0.0
            if kept is not None:
                lower[kept] = max(lower[kept], floor if dropped is None else lower[dropped])
            if dropped is not None:
                upper[dropped] = min(upper[dropped], floor if kept is None else upper[kept])
        if any((interval.lower > interval.upper).any() for interval in intervals):
            return None
        planes = {}
        for position in self.planes:
            node = self.network.nodes[position]
            gone = [(s.dropped, s.output) for s in splits if s.position == position]
            given, known = intervals[node.inputs[0]], self.differences.get(position)
            planes[position] = planes_of(node.layer, slopes[position], given, gone, known)
        return Enclosure(self.network, self.region, tuple(intervals), planes, self.differences)

    def rows(self, C: Array, d: Array, splits: Sequence[Split] = (), multipliers: Array | None = None) -> Array:
        """Lower bounds of C f + d: by a walk, or by the output's intervals where they are better."""
        last = self.intervals[-1]
        size = np.abs(C) @ last.largest + np.abs(d)
        interval = np.where(C > 0, C * last.lower, C * last.upper).sum(1) + d - gamma(C.shape[1]) * size
        walked = self.walk(len(self.network.nodes) - 1, C, d, splits, multipliers)
        order = 1.01 * np.abs(C) @ order_error(last.largest) if self.network.softmax else 0.0
        # The sign of a sum of two numbers is exact; longer rows are rounded where they are evaluated.
        plain = ((C == 0) | (np.abs(C) == 1)).all(1) & ((C != 0).sum(1) + (d != 0) <= 2)
        own = np.where(plain, 0.0, deployed_gamma(C.shape[1] + 2) * size)
        return np.maximum(interval, walked) - order - own

    def walk(
        self, start: int, rows: Array, constant: Array, splits: Sequence[Split] = (), multipliers: Array | None = None
    ) -> Array:
        """Lower bounds of rows (n, *shape) over node `start`, plus constants, from the input."""
        walk = _Walk(self, constant.astype(np.float64))
        pending = {start: rows}
        taken = _by_source(self.network, splits, multipliers)
        for position in range(start, -1, -1):
            if position not in pending:
                continue
            here = pending.pop(position)
            for split, share in taken.get(position, ()):
                here = walk.take(here, position, split, share)
            node = self.network.nodes[position]
            if node.layer is None:
                return walk.end(here)
            for source, part in zip(node.inputs, walk.through(position, node, here), strict=True):
                pending[source] = walk.join(pending[source], part, source) if source in pending else part
        return walk.constant - walk.error

    def _bounded(self, rows: Tightened, slopes: Mapping[int, Slopes]) -> Array:
        """Lower bounds of rows over their node."""
        lower = np.zeros(len(rows.plus))
        for start in range(0, len(lower), _ROWS):
            part = slice(start, start + _ROWS)
            planes = dict(self.planes)
            for position in rows.row:
                maximum, source = _maximum(self.network, position)
                weights = rows.below(position, slopes[position], part)
                below, offset = plane_below(maximum, weights, self.intervals[source])
                planes[position] = replace(planes[position], below=below, below_offset=offset)
            own = replace(self, planes=planes)
            shaped = rows.rows(part, self.network.nodes[rows.position].shape)
            lower[part] = own.walk(rows.position, shaped, np.zeros(len(shaped)))
        if not np.isfinite(lower).all():
            raise ValueError(f"rows over node {rows.position} have no finite bounds")
        return lower

    def _differences(self, source: int, maximum: Maximum) -> Array:
        """Upper bounds of entry k minus entry j by walks from the maximum's input, where both can win."""
        interval = self.intervals[source]
        low, high = (candidates(maximum, side[None])[0] for side in (interval.lower, interval.upper))
        count, outputs = maximum.entry.shape
        found = np.where(np.eye(count, dtype=bool)[:, :, None], 0.0, np.full((count, count, outputs), np.inf))
        able = ((high >= low.max(0))[:count]) & (maximum.entry >= 0)
        first, second, output = (able[:, None] & able[None] & ~np.eye(count, dtype=bool)[:, :, None]).nonzero()
        for part in np.array_split(np.arange(len(first)), -(-len(first) // _ROWS)) if len(first) else ():
            k, j, o = first[part], second[part], output[part]
            # The least of z_j - z_k is minus the largest of z_k - z_j.
            rows = np.zeros((len(part), interval.lower.size))
            rows[np.arange(len(part)), maximum.entry[j, o]] = 1.0
            rows[np.arange(len(part)), maximum.entry[k, o]] = -1.0
            found[k, j, o] = -self.walk(source, rows.reshape(len(part), *interval.lower.shape), np.zeros(len(part)))
        return found

    def _refined(self, position: int, wanted: Array) -> Interval:
        interval = self.intervals[position]
        lower, upper = interval.lower.reshape(-1).copy(), interval.upper.reshape(-1).copy()
        for part in np.array_split(wanted, -(-len(wanted) // _ROWS)):
            rows = np.zeros((2 * len(part), lower.size))
            rows[np.arange(len(part)), part] = 1.0
            rows[len(part) + np.arange(len(part)), part] = -1.0
            shaped = rows.reshape(len(rows), *interval.lower.shape)
            found = self.walk(position, shaped, np.zeros(len(rows)))
            lower[part] = np.maximum(lower[part], found[: len(part)])
            upper[part] = np.minimum(upper[part], -found[len(part) :])
        return Interval(lower.reshape(interval.lower.shape), upper.reshape(interval.lower.shape))


class _Walk:
    """The constants of some rows on their way back, and a bound of what has been rounded away."""

    def __init__(self, enclosure: Enclosure, constant: Array) -> None:
        self._enclosure = enclosure
        self.constant = constant
        self.error = np.zeros_like(constant)

    def through(self, position: int, node: Node, rows: Array) -> list[Array]:
        intervals = self._enclosure.intervals
        shapes = [self._enclosure.network.nodes[i].shape for i in node.inputs]
        sizes = [intervals[i].largest for i in node.inputs]
        if isinstance(node.layer, Maximum | Smooth):
            return [self._relaxed(self._enclosure.planes[position], node.layer, rows, shapes[0], sizes[0])]
        layer = node.layer
        assert layer is not None
        magnitude = layer.magnitude(*(size[None] for size in sizes))[0]
        self._round(layer.terms, rows, magnitude)
        self._deployed(rows, layer.deployed(*(size[None] for size in sizes))[0])
        self.constant = self.constant + _dot(rows, layer.offset(node.shape))
        return layer.backward(rows, shapes)

    def take(self, rows: Array, position: int, split: Split, share: float) -> Array:
        """Rows minus share * (kept - dropped): below the rows wherever the split holds, for shares >= 0."""
        maximum, _ = _maximum(self._enclosure.network, split.position)
        interval = self._enclosure.intervals[position].largest.reshape(-1)
        rows = rows.copy()
        flat = rows.reshape(len(rows), -1)
        for candidate, sign in ((split.kept, -share), (split.dropped, share)):
            entry = _entry(maximum, candidate, split.output)
            if entry is None:
                self.constant = self.constant + sign * (maximum.floor or 0.0)
                self.error = self.error + gamma(2) * (np.abs(self.constant) + share * abs(maximum.floor or 0.0))
            else:
                flat[:, entry] += sign
                self.error = self.error + gamma(2) * np.abs(flat[:, entry]) * interval[entry]
        return rows

    def join(self, one: Array, two: Array, position: int) -> Array:
        total = one + two
        self._round(1, total, self._enclosure.intervals[position].largest)
        return total

    def end(self, rows: Array) -> Array:
        value = self._enclosure.region.lowest(rows)
        self.error = self.error + gamma(4) * (np.abs(self.constant) + np.abs(value))
        return value + self.constant - self.error

    def _relaxed(
        self, planes: Planes, layer: Maximum | Smooth, rows: Array, shape: tuple[int, ...], size: Array
    ) -> Array:
        flat = rows.reshape(len(rows), -1)
        entry = _entries(layer, size.size)
        laid = size.reshape(-1)[np.maximum(entry, 0)]
        steepest = np.maximum(np.abs(planes.below), np.abs(planes.above))
        offset = np.maximum(np.abs(planes.below_offset), np.abs(planes.above_offset))
        # Each entry of the input adds up the shares of at most as many windows as there are candidates.
        self._round(2 * len(entry), flat, (steepest * laid).sum(-2) + offset)
        positive, negative = np.maximum(flat, 0), np.minimum(flat, 0)
        self.constant = self.constant + _dot(positive, planes.below_offset) + _dot(negative, planes.above_offset)
        pulled = np.zeros((size.size, len(rows)))
        for k, places in enumerate(entry):
            real = places >= 0
            part = positive[:, real] * planes.below[..., k, real] + negative[:, real] * planes.above[k, real]
            pulled[places[real]] += part.T  # one candidate of a maximum is never two outputs' same entry
        return pulled.T.reshape(len(rows), *shape)

    def _deployed(self, rows: Array, error: Array) -> None:
        """What a network that computes in single precision rounds in a value that rows meet."""
        self.error = self.error + 1.01 * _dot(np.abs(rows).reshape(len(rows), -1), error)

    def _round(self, terms: int, rows: Array, magnitude: Array) -> None:
        flat = np.abs(rows).reshape(len(rows), -1)
        self.error = self.error + gamma(terms + flat.shape[1]) * (_dot(flat, magnitude) + np.abs(self.constant))


def _forward(node: Node, given: Sequence[Interval], region: Region) -> Interval:
    layer = node.layer
    if layer is None:
        return Interval(region.lower, region.upper)
    if isinstance(layer, Maximum):
        low, high = (candidates(layer, side[None])[0].max(0) for side in (given[0].lower, given[0].upper))
        return Interval(low.reshape(node.shape), high.reshape(node.shape))
    if isinstance(layer, Smooth):
        low, high = apply(layer, given[0].lower), apply(layer, given[0].upper)
        error = layer.deployed(np.maximum(np.abs(low), np.abs(high)))
        return Interval(low - gamma(16) * (1 + np.abs(low)) - error, high + gamma(16) * (1 + np.abs(high)) + error)
    middle = [(i.lower + i.upper) / 2 for i in given]
    # The radius covers the rounding of the middle.
    radius = [np.maximum(i.upper - m, m - i.lower) * (1 + gamma(2)) for i, m in zip(given, middle, strict=True)]
    value = layer.forward(*(m[None] for m in middle))[0]
    size = layer.magnitude(*(np.abs(m)[None] + r[None] for m, r in zip(middle, radius, strict=True)))[0]
    offset = layer.magnitude(*(np.zeros_like(m)[None] for m in middle))[0]
    spread = layer.magnitude(*(r[None] for r in radius))[0] - offset
    reach = (
        spread
        + 4 * gamma(layer.terms) * size
        + 1.01 * layer.deployed(*(m[None] for m in (i.largest for i in given)))[0]
    )
    return Interval(value - reach, value + reach)


def _wanted(network: Network, region: Region, position: int, interval: Interval) -> Array:
    """Flat entries of a value that decide a nonlinearity: candidates where more than one can win."""
    # One affine layer after a box, intervals are exact.
    if region.norm == "linf" and network.nodes[position].inputs in ((), (0,)):
        return np.zeros(0, dtype=np.int64)
    wanted = np.zeros(interval.lower.size, dtype=bool)
    for node in network.nodes:
        if position not in node.inputs:
            continue
        if isinstance(node.layer, Smooth):
            wanted |= (interval.lower < interval.upper).reshape(-1)
        elif isinstance(node.layer, Maximum):
            low, high = (candidates(node.layer, side[None])[0] for side in (interval.lower, interval.upper))
            alive = high >= low.max(0)
            open_ = alive & (alive.sum(0) > 1)
            count = len(node.layer.entry)
            wanted[node.layer.entry[open_[:count] & (node.layer.entry >= 0)]] = True
    return wanted.nonzero()[0]


def _entries(layer: Maximum | Smooth, size: int) -> Array:
    return layer.entry if isinstance(layer, Maximum) else np.arange(size)[None]


def _maximum(network: Network, position: int) -> tuple[Maximum, int]:
    layer = network.nodes[position].layer if 0 <= position < len(network.nodes) else None
    if not isinstance(layer, Maximum):
        raise ValueError(f"node {position} is no maximum that could be split")
    return layer, network.nodes[position].inputs[0]


def _entry(maximum: Maximum, candidate: int, output: int) -> int | None:
    """The flat input entry of a candidate; None for the floor. Raises ValueError if there is no such candidate."""
    count = len(maximum.entry) + (maximum.floor is not None)
    if not (0 <= candidate < count and 0 <= output < maximum.entry.shape[1]):
        raise ValueError(f"output {output} of a maximum has no candidate {candidate}")
    if candidate == len(maximum.entry):
        return None
    entry = int(maximum.entry[candidate, output])
    if entry < 0:
        raise ValueError(f"candidate {candidate} of output {output} is padding")
    return entry


def _by_source(
    network: Network, splits: Sequence[Split], multipliers: Array | None
) -> dict[int, list[tuple[Split, float]]]:
    found: dict[int, list[tuple[Split, float]]] = {}
    if multipliers is not None:
        for split, share in zip(splits, multipliers.tolist(), strict=True):
            if share > 0:
                found.setdefault(_maximum(network, split.position)[1], []).append((split, share))
    return found


def _dot(rows: Array, values: Array) -> Array:
    """Products of rows with the values, or each with its own."""
    flat = rows.reshape(len(rows), -1)
    each = np.ascontiguousarray(values).reshape(-1, flat.shape[1])
    return flat @ each[0] if len(each) == 1 else (flat * each).sum(1)
