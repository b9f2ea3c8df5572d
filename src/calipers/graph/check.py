"""Whether a graph is the model that it was read from: compared on random inputs, to the last bit that sums allow."""

from collections.abc import Callable

import torch
from torch import Tensor

from calipers.core.errors import ModelError
from calipers.graph.graph import Graph
from calipers.graph.rounding import forward_errors, tail_error

_SAMPLES = 8


def check_graph(graph: Graph, original: Callable[[Tensor], Tensor]) -> None:
    """Compare the graph with the original on random inputs; a difference is a ModelError, never ignored.

    Both may round each sum in its own order, and nothing else: what that can change is worked out for these inputs.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.rand((_SAMPLES, *graph.input_shape), generator=generator) * 2 - 0.5
    with torch.no_grad():
        ours, theirs = graph.outputs(x), original(x.clone())
        logits = graph.evaluate(x)
        allowed = 2 * forward_errors(graph, x)[-1]
    if ours.shape != theirs.shape:
        raise ModelError(f"graph: output has shape {tuple(ours.shape)}, the original's is {tuple(theirs.shape)}")
    if not bool(theirs.isfinite().all()):
        share = f"{int((~theirs.isfinite()).sum())} of {theirs.numel()}"
        raise ModelError(f"model: {share} outputs are NaN or infinite on random inputs; accepted: finite outputs")
    if graph.tail is not None:
        # A saturated softmax hides differences between logits; its logarithm shows them, but for what underflows.
        if not graph.tail.log:
            ours, theirs = ours.clamp(min=1e-30).log(), theirs.clamp(min=1e-30).log()
        # Every entry also feels the sum over all, and the logarithm here rounds once more.
        own = tail_error(graph, logits.abs())
        assert own is not None
        allowed = allowed + allowed.amax(1, keepdim=True) + 2 * own.amax(1, keepdim=True)
    difference = (ours - theirs).abs()
    wrong = ~(difference <= allowed)
    if bool(wrong.any()):
        worst = int(torch.where(wrong, difference - allowed, -torch.inf).nan_to_num(torch.inf).argmax())
        found, most = float(difference.flatten()[worst]), float(allowed.flatten()[worst])
        raise ModelError(f"graph: differs from the original by {found:g} on random inputs; rounding explains {most:g}")
