import pytest
import torch

from calipers.graph import ops
from calipers.graph.from_torch import from_module
from calipers.graph.rewrite import fuse_windows
from tests.nets import FAMILIES, random_net


@pytest.mark.parametrize("family", FAMILIES)
def test_fused_windows_compute_the_same(family: str) -> None:
    net, shape = random_net(family, 2)
    graph = from_module(net, torch.rand(2, *shape))
    fused = fuse_windows(graph)
    x = torch.randn(6, *shape)
    assert torch.allclose(fused.evaluate(x), graph.evaluate(x), atol=1e-6)
    pairs = sum(isinstance(node.op, ops.MaxPool2d) and node.op.floor == 0 for node in fused.nodes)
    assert len(graph.nodes) - len(fused.nodes) == pairs
    assert (pairs > 0) == (family in {"pooled", "padded", "overlap", "normalised"})
