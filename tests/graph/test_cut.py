"""A graph cut at a node: head and tail together are the whole, to the last bit."""

import pytest
import torch

from calipers.core.errors import InputError
from tests.nets import FAMILIES, random_graph


@pytest.mark.parametrize("family", FAMILIES)
def test_head_and_tail_compose_to_the_whole(family: str) -> None:
    graph = random_graph(family, 3)
    x = torch.rand(4, *graph.input_shape, dtype=torch.float64)
    whole, cuts = graph.values(x), 0
    for position, node in enumerate(graph.nodes):
        if not graph.separates(position):
            with pytest.raises(InputError, match=rf"node {position} .* is passed by"):
                graph.cut(position)
            continue
        head, tail = graph.cut(position)
        cuts += 1
        assert torch.equal(head.evaluate(x), whole[position])
        assert tail.input_shape == node.shape
        assert torch.equal(tail.evaluate(whole[position]), whole[-1])
        assert torch.equal(tail.outputs(head.evaluate(x)), graph.outputs(x))
    assert cuts >= 2


def test_a_place_that_is_not_there_is_named() -> None:
    graph = random_graph("mlp", 0)
    with pytest.raises(InputError, match=rf"node 99; accepted: 0 to {graph.output}"):
        graph.cut(99)


def test_a_skip_connection_is_not_cut_through() -> None:
    graph = random_graph("residual", 0)
    assert not all(graph.separates(position) for position in range(len(graph.nodes)))
