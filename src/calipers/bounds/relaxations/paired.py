"""The plane above a window that bounds of its pixels' pairwise differences allow.

For weights a >= 0 that add up to 1, max_k x_k <= a . x + max_k sum_j a_j D_kj, where D_kj bounds x_k - x_j from above.
With D_kj = u_k - l_j these planes hold MaxLin's. But neighbouring pixels see nearly the same inputs, so a walk bounds
their difference tighter than their bounds do, which lowers the plane and tells which pixels never win.
"""

import itertools
from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from calipers.bounds.budget import WorkBudget
from calipers.bounds.cost import row_bytes
from calipers.bounds.propagation.backsubstitution import backsubstitute
from calipers.bounds.propagation.concretize import enclose
from calipers.bounds.propagation.rows import Rows
from calipers.bounds.propagation.start import Selection, select
from calipers.bounds.relaxations import maxlin
from calipers.bounds.relaxations.maxima import ABSENT, Maxima
from calipers.bounds.relaxations.relaxation import Relaxation
from calipers.bounds.relaxations.window import Windows
from calipers.core.intervals import IntervalBounds
from calipers.core.sets import InputSet
from calipers.graph import ops
from calipers.graph.graph import Graph

# So many steps of multiplicative weights come within 3 % of the best plane (tests/bounds/test_paired.py).
_STEPS = 32
_RATE = 3.0


def independent(
    low: Float[Tensor, "batch candidates outputs"], high: Float[Tensor, "batch candidates outputs"]
) -> Float[Tensor, "batch candidates candidates outputs"]:
    """What the candidates' own bounds say of x_k - x_j: entry [k, j]."""
    found = high.unsqueeze(2) - low.unsqueeze(1)
    found.diagonal(dim1=1, dim2=2).zero_()
    return found


def measured(
    graph: Graph,
    position: int,
    bounds: IntervalBounds,
    noise: Float[Tensor, "batch *shape"],
    relaxations: Mapping[int, Relaxation],
    input_set: InputSet,
    budget: WorkBudget,
) -> Float[Tensor, "batch candidates candidates outputs"]:
    """Upper bounds of x_k - x_j at the maxpool `position`, by walks from its input where both pixels can win.

    bounds, noise: of its input.
    """
    view, node = Maxima.of(graph, position), graph.nodes[position]
    assert view is not None
    assert isinstance(node.op, ops.MaxPool2d)
    low, high = view.spread(bounds.lower.flatten(1)), view.spread(bounds.upper.flatten(1))
    found = independent(low, high)
    if view.pixels < 2:
        return found
    can = winners(low, high, found)
    one, two = torch.tensor([*itertools.combinations(range(view.pixels), 2)], device=low.device).unbind(1)
    first, shared = _distinct(view.entry[one], view.entry[two])
    wanted = _once((can[:, one] & can[:, two]).flatten(1), first, shared).unflatten(1, (-1, *node.shape))
    shape = graph.nodes[view.source].shape
    most = low.new_full((len(low), len(first)), torch.inf)
    least = -most
    for chosen in select(wanted.flatten(1, 2)).chunks(budget, row_bytes(graph, position, windowed=True)):
        pair = chosen.neuron // view.outputs
        rows = _difference_rows(node.op, node.shape, shape, chosen, one[pair], two[pair], low.dtype)
        place = (chosen.image[:, None], shared[chosen.neuron])
        least[place], most[place] = enclose(input_set, backsubstitute(graph, view.source, rows, relaxations, noise)[0])
    for k, j, value in ((one, two, most), (two, one, -least)):
        found[:, k, j] = torch.minimum(found[:, k, j], value[:, shared].unflatten(1, (len(one), -1)))
    return found


def _distinct(
    one: Int[Tensor, "pairs outputs"], two: Int[Tensor, "pairs outputs"]
) -> tuple[Int[Tensor, " distinct"], Int[Tensor, " places"]]:
    """Where each pair of pixels occurs first, and which pair is at each place: windows that overlap share some."""
    key = (one + 1) * (int(two.max()) + 2) + two + 1
    values, shared = key.flatten().unique(return_inverse=True)
    places = torch.arange(len(shared), device=shared.device)
    return torch.full_like(values, len(shared)).scatter_reduce_(0, shared, places, "amin"), shared


def _once(
    wanted: Bool[Tensor, "batch places"], first: Int[Tensor, " distinct"], shared: Int[Tensor, " places"]
) -> Bool[Tensor, "batch places"]:
    """Every wanted pair where it occurs first."""
    image, place = wanted.nonzero().unbind(1)
    found = torch.zeros_like(wanted)
    found[image, first[shared[place]]] = True
    return found


def winners(
    low: Float[Tensor, "batch candidates outputs"],
    high: Float[Tensor, "batch candidates outputs"],
    difference: Float[Tensor, "batch candidates candidates outputs"],
) -> Bool[Tensor, "batch candidates outputs"]:
    """Candidates that can be the largest; at least one of each output."""
    best, safest = low.max(1, keepdim=True)
    return ((high > best) & (difference.amin(2) >= 0)).scatter_(1, safest, True)


def upper_plane(
    low: Float[Tensor, "batch candidates outputs"],
    high: Float[Tensor, "batch candidates outputs"],
    can: Bool[Tensor, "batch candidates outputs"],
    difference: Float[Tensor, "batch candidates candidates outputs"],
) -> tuple[Float[Tensor, "batch candidates outputs"], Float[Tensor, "batch outputs"]]:
    """Weights of the candidates and offset of a plane that is nearly lowest at the midpoint, never above MaxLin's."""
    slope, bias = maxlin.upper_plane(Windows(low, high.masked_fill(~can, ABSENT), low.shape[1]))
    # Where no difference is tighter than the bounds say, MaxLin's plane is the lowest already.
    both = can.unsqueeze(1) & can.unsqueeze(2)
    image, output = (both & (difference < independent(low, high))).any(1).any(1).nonzero().unbind(1)
    if len(image):
        able = can[image, :, output]
        middle = (low / 2 + high / 2)[image, :, output].masked_fill(~able, 0.0)
        payoff = difference[image, :, :, output].masked_fill(~able.unsqueeze(1), 0.0)
        weights = _lowest(payoff.masked_fill(~able.unsqueeze(2), ABSENT), middle, able)
        offset = (payoff @ weights.unsqueeze(2)).squeeze(2).masked_fill(~able, ABSENT).amax(1)
        plain = (slope[image, :, output] * middle).sum(1) + bias[image, output]
        lower = (weights * middle).sum(1) + offset <= plain
        slope[image, :, output] = torch.where(lower.unsqueeze(1), weights, slope[image, :, output])
        bias[image, output] = torch.where(lower, offset, bias[image, output])
    return slope, bias


def relax_maxpool(
    graph: Graph,
    position: int,
    bounds: IntervalBounds,
    difference: Float[Tensor, "batch candidates candidates outputs"],
) -> Relaxation:
    """The paired plane above, the pixel with the largest midpoint below."""
    view, node = Maxima.of(graph, position), graph.nodes[position]
    assert view is not None
    low, high = view.spread(bounds.lower.flatten(1)), view.spread(bounds.upper.flatten(1))
    windows = Windows(low, high, view.pixels)
    below = windows.plane(maxlin.lower_pixel(windows), torch.zeros_like(low[:, 0]))
    above = windows.plane(*upper_plane(low, high, winners(low, high, difference), difference))
    sides = (side.unflatten(-1, node.shape) for side in (*below, *above))
    return Relaxation(*sides)


def _lowest(
    payoff: Float[Tensor, "windows candidates candidates"],
    middle: Float[Tensor, "windows candidates"],
    able: Bool[Tensor, "windows candidates"],
) -> Float[Tensor, "windows candidates"]:
    """Weights a with a small max_k sum_j a_j (payoff_kj + middle_j): a matrix game, by multiplicative weights."""
    payoff = payoff + middle.unsqueeze(1)
    own = payoff.masked_fill(payoff <= ABSENT / 2, 0.0)
    scale = (own.amax((1, 2)) - own.amin((1, 2))).clamp_min(1e-12).unsqueeze(1)
    logarithm = torch.zeros_like(middle)
    best, value = middle, torch.full_like(middle[:, 0], torch.inf)
    for step in range(_STEPS):
        weights = torch.softmax(logarithm.masked_fill(~able, -torch.inf), 1)
        here, reply = (payoff @ weights.unsqueeze(2)).squeeze(2).max(1)
        better = here < value
        best, value = torch.where(better.unsqueeze(1), weights, best), torch.where(better, here, value)
        slope = payoff.gather(1, reply[:, None, None].expand(-1, 1, payoff.shape[2])).squeeze(1)
        logarithm = logarithm - _RATE / (1 + step) ** 0.5 * (slope - slope.mean(1, keepdim=True)) / scale
    return best


def _difference_rows(
    op: ops.MaxPool2d,
    pooled: tuple[int, ...],
    shape: tuple[int, ...],
    chosen: Selection,
    one: Tensor,
    two: Tensor,
    dtype: torch.dtype,
) -> Rows:
    """Rows x_one - x_two over the windows of a feature map, two-sided. one, two: pixels, (groups, rows)."""
    _, height, width = pooled
    reach = [(op.kernel[i] - 1) * op.dilation[i] + 1 for i in (0, 1)]
    place = chosen.neuron % (height * width)
    channel = chosen.neuron // (height * width) % shape[0]
    device = chosen.neuron.device
    offset = torch.tensor([dy * reach[1] + dx for dy, dx in op.pixels], device=device)
    coefficient = torch.zeros(*chosen.neuron.shape, shape[0] * reach[0] * reach[1], dtype=dtype, device=device)
    for pixel, sign in ((one, 1.0), (two, -1.0)):
        entry = channel * reach[0] * reach[1] + offset[pixel]
        coefficient.scatter_(2, entry.unsqueeze(2), sign)
    first = torch.stack([place[:, 0] // width, place[:, 0] % width], 1)
    corner = first * torch.tensor(op.stride, device=device) - torch.tensor(op.padding, device=device)
    constant = torch.zeros(2, *chosen.neuron.shape, dtype=dtype, device=device)
    return Rows(coefficient.unflatten(2, (shape[0], *reach)), constant, chosen.image, corner, shape)
