"""Samples as rows of values."""

import pytest
import torch

from calipers.core.norms import Norm, flat


@pytest.mark.parametrize("shape", [(2, 3), (), (1,), (3, 0)])
def test_samples_become_rows_of_as_many_values_also_when_there_are_none(shape: tuple[int, ...]) -> None:
    values = torch.Size(shape).numel()
    for batch in (4, 1, 0):
        x = torch.arange(batch * values).reshape(batch, *shape)
        assert torch.equal(flat(x), torch.arange(batch * values).reshape(batch, values))


def test_norms_of_no_samples_are_none() -> None:
    for norm in Norm:
        assert norm(flat(torch.zeros(0, 2, 3))).shape == (0,)
