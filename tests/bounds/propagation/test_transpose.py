"""Every way of a transposed convolution against the library's, and against what a transpose is."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from calipers.bounds.propagation import transpose
from calipers.graph import ops

WAYS = [transpose.dense, transpose.bands, transpose.subpixels, transpose.transpose]


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[ops.Conv2d, Tensor]:
    """A convolution without dilation and groups, and coefficients of its outputs."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    maps, channels, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 6))
    kernel = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    size = (draw(st.integers(1, 6)), draw(st.integers(1, 20)))
    weight = torch.randn(channels, outputs, *kernel, generator=generator, dtype=torch.float64)
    coefficients = torch.randn(maps, channels, *size, generator=generator, dtype=torch.float64)
    if draw(st.booleans()):
        coefficients = coefficients.contiguous(memory_format=torch.channels_last)
    return ops.Conv2d(weight, torch.zeros(channels, dtype=torch.float64), stride), coefficients


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=60, deadline=None)
@given(case=convolutions())
def test_every_way_gives_what_the_library_gives(way, case: tuple[ops.Conv2d, Tensor]) -> None:
    op, maps = case
    torch.testing.assert_close(way(op, maps), transpose.library(op, maps))


@settings(max_examples=60, deadline=None)
@given(case=convolutions(), dilation=st.sampled_from([(1, 1), (2, 1), (3, 2)]))
def test_it_is_the_transpose_of_the_convolution(case: tuple[ops.Conv2d, Tensor], dilation: tuple[int, int]) -> None:
    op, maps = case
    op = ops.Conv2d(op.weight, op.bias, op.stride, dilation=dilation)
    pulled = transpose.transpose(op, maps)
    inputs = torch.randn(pulled.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    outputs = F.conv2d(inputs, op.weight, None, op.stride, 0, op.dilation)
    torch.testing.assert_close((pulled * inputs).sum(), (maps * outputs).sum())


@pytest.mark.parametrize("way", WAYS)
def test_gradients_pass(way) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(2, 1, 3, 3, generator=generator, dtype=torch.float64)
    op = ops.Conv2d(weight, torch.zeros(2, dtype=torch.float64), (2, 2))
    maps = torch.randn(1, 2, 2, 9, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m: way(op, m), maps)


def test_groups_are_kept_apart() -> None:
    op = ops.Conv2d(torch.randn(4, 1, 3, 3), torch.zeros(4), groups=2)
    maps = torch.randn(2, 4, 2, 2)
    halves = [F.conv_transpose2d(maps[:, part], op.weight[part]) for part in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(transpose.transpose(op, maps), torch.cat(halves, 1))
