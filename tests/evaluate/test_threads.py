import math
from contextlib import suppress

import pytest
import torch
from torch import nn

from calipers.evaluate.threads import multiplications_of, threads_for, worth


@pytest.mark.parametrize(
    ("net", "shape", "products"),
    [
        (nn.Linear(7, 3), (7,), 7 * 3),
        (nn.Conv2d(2, 4, 3, padding=1), (2, 5, 6), 5 * 6 * 4 * 2 * 9),
        (nn.Conv2d(4, 4, 3, stride=2, groups=2), (4, 7, 7), 3 * 3 * 4 * 2 * 9),
        (nn.ConvTranspose2d(2, 3, 2, stride=2), (2, 4, 4), 4 * 4 * 2 * 3 * 4),
        (nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 2)), (3, 2, 2), 12 * 5 + 5 * 2),
    ],
)
def test_products_of_layers_by_their_formula(net, shape, products):
    assert multiplications_of(net.eval(), torch.rand(1, *shape)) == products


def test_threads_in_proportion_to_the_work_within_what_there_is():
    assert [worth(work, 4) for work in (0.0, 1e6, 9e7, 1e8, 1e9, math.inf)] == [1, 1, 1, 2, 4, 4]
    assert worth(math.inf, 1) == 1


def test_threads_are_given_back_also_after_an_error():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with suppress(KeyError), threads_for(1.0):
            assert torch.get_num_threads() == 1
            raise KeyError
        assert torch.get_num_threads() == 2
        with threads_for(math.inf):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_model_without_layers_of_torch_keeps_its_threads_and_none_keeps_a_hook():
    assert multiplications_of(nn.Flatten(), torch.rand(1, 2)) == math.inf
    net = nn.Sequential(nn.Linear(2, 2))
    multiplications_of(net, torch.rand(1, 2))
    assert not net[0]._forward_hooks
