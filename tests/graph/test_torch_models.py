"""Operators of models as people write them: the graph is the module, and intervals of the graph enclose it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from calipers.bounds.propagation.interval import interval_bounds
from calipers.core.sets import Box
from calipers.graph.from_torch import from_module
from tests.graph.test_operators import Function


class Buffered(nn.Module):
    """A mask of channels kept as a buffer, and a layer after it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("order", torch.tensor([1, 0, 1]))
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x):
        return self.conv(x[:, self.order])


MAP, VOLUME, SEQUENCE, VECTOR = (2, 6, 5), (2, 4, 5, 3), (3, 7), (6,)
DRAW = torch.Generator().manual_seed(0)
W, CUBE = torch.randn(5, 4, generator=DRAW), torch.randn(2, 5, 3, generator=DRAW)
GRID = torch.rand(1, 3, 4, 2, generator=DRAW) * 2 - 1
MASK = torch.tensor([True, False, True, True, False, True])


def no_grad(x):
    with torch.no_grad():
        return 2 * x


def written(x):
    x = x.clone()
    x[:, 0] = 0.5
    x[:, 1, 2:4] = x[:, 0, :2] - 1
    return x * 2


def in_place_on_a_view(x):
    y = 2 * x
    y[:, :, 1:].relu_()
    return y


def in_place_twice(x):
    y = x - 0.5
    z = F.relu(y, inplace=True)
    return y + z


def written_by_mask(x):
    x = x * 1
    x[:, MASK] = torch.arange(4.0)
    return x


CASES = {
    "dropouts": (MAP, nn.Sequential(nn.Dropout2d(), nn.AlphaDropout(), nn.FeatureAlphaDropout(), nn.Identity())),
    "dropout1d": (SEQUENCE, nn.Sequential(nn.Dropout1d(inplace=True), nn.ReLU(inplace=True))),
    "dropout3d": (VOLUME, nn.Dropout3d()),
    "no gradient": (MAP, Function(no_grad)),
    "casts": (MAP, Function(lambda x: x.float().double().to(torch.float32).type_as(x).to("cpu").contiguous())),
    "double inside": (VECTOR, Function(lambda x: (x.double() @ torch.ones(6, 2, dtype=torch.float64)).float())),
    "channel list": (MAP, Function(lambda x: x[:, [1, 0, 1]])),
    "channel list, negative": (MAP, Function(lambda x: x[:, [-1, 0], 1:])),
    "two lists": (MAP, Function(lambda x: x[:, [0, 1], [3, 4]])),
    "ellipsis": (MAP, Function(lambda x: x[..., ::2])),
    "new dimension": (MAP, Function(lambda x: x[:, None, ..., 1])),
    "buffer of places": ((2, 5, 5), Buffered()),
    "index_select": (MAP, Function(lambda x: x.index_select(2, torch.tensor([3, 1])))),
    "gather": (MAP, Function(lambda x: x.gather(3, torch.tensor([[2, 0]]).expand(len(x), 2, 6, 2)))),
    "take_along_dim": (MAP, Function(lambda x: torch.take_along_dim(x, torch.tensor([4, 1]).reshape(1, 1, 1, 2), 3))),
    "mask": (VECTOR, nn.Sequential(Function(lambda x: x[:, MASK]), nn.Linear(4, 2))),
    "mask as list": (VECTOR, Function(lambda x: x[:, [True, False, True, True, False, False]] * 2)),
    "roll": (MAP, Function(lambda x: x.roll((1, -2), (2, 3)))),
    "rot90": (MAP, Function(lambda x: torch.rot90(x, 1, (2, 3)))),
    "fliplr": (MAP, Function(torch.fliplr)),
    "swapaxes": (MAP, Function(lambda x: x.swapaxes(1, 2))),
    "moveaxis": (MAP, Function(lambda x: x.moveaxis((1, 2), (3, 1)))),
    "mT": (MAP, Function(lambda x: x.mT)),
    "unbind": (MAP, Function(lambda x: x.unbind(1)[1] - x.unbind(1)[0])),
    "tile": (MAP, Function(lambda x: x.tile(1, 2, 1, 1))),
    "repeat_interleave": (MAP, Function(lambda x: x.repeat_interleave(2, 1))),
    "as another": (MAP, Function(lambda x: x.reshape_as(x[:, :, :, :1].expand_as(x)).view_as(x))),
    "tensor_split": (MAP, Function(lambda x: x.tensor_split((2, 3), 2)[0])),
    "hstack": (VECTOR, Function(lambda x: torch.hstack([x, 2 * x]))),
    "unshuffle": ((2, 6, 4), nn.PixelUnshuffle(2)),
    "channel shuffle": ((4, 2, 3), nn.ChannelShuffle(2)),
    "unfold": (MAP, nn.Unfold((3, 2), padding=(1, 0), stride=2)),
    "windows": (SEQUENCE, Function(lambda x: x.unfold(2, 3, 2))),
    "fold": ((8, 6), nn.Fold((4, 3), (2, 2))),
    "circular": (MAP, Function(lambda x: F.pad(x, (1, 2, 0, 1), mode="circular"))),
    "circular convolution": (MAP, nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular")),
    "concat with constant": (MAP, Function(lambda x: torch.cat([x, torch.full((len(x), 1, 6, 5), 0.3), -x], 1))),
    "concat with ones": (MAP, Function(lambda x: torch.cat([torch.ones_like(x[:, :1]), x], 1))),
    "stack with constant": (VECTOR, Function(lambda x: torch.stack([x, x.new_zeros(len(x), 6)], 1))),
    "ensemble": (VECTOR, Function(lambda x: torch.stack([x, 3 * x, -x]).mean(0) - torch.stack([x, x]).sum(0))),
    "rrelu": (MAP, nn.RReLU(inplace=True)),
    "threshold": (MAP, nn.Threshold(0.0, 0.0)),
    "positions": (VECTOR, Function(lambda x: x + torch.zeros(len(x), 6).fill_(0.5))),
    "where": (MAP, Function(lambda x: torch.where(torch.eye(6, 5) > 0, x, 1 - x))),
    "where with numbers": (MAP, Function(lambda x: torch.where(torch.eye(6, 5) > 0, 0.7, x))),
    "masked_fill": (MAP, Function(lambda x: x.masked_fill(torch.eye(6, 5) > 0, -3.0))),
    "triu": ((2, 5, 5), Function(lambda x: x.triu(1))),
    "written": (MAP, Function(written)),
    "written by mask": (VECTOR, Function(written_by_mask)),
    "in place on a view": (MAP, Function(in_place_on_a_view)),
    "in place twice": (MAP, Function(in_place_twice)),
    "same, even": (MAP, nn.Conv2d(2, 3, (2, 4), padding="same", dilation=(1, 2))),
    "same1d, even": (SEQUENCE, nn.Conv1d(3, 2, 4, padding="same")),
    "max ceil": (MAP, nn.MaxPool2d(3, 2, ceil_mode=True)),
    "max ceil with padding": (MAP, nn.MaxPool2d(3, (2, 3), (1, 0), ceil_mode=True)),
    "max ceil dilated": (MAP, nn.MaxPool2d(2, 2, 1, dilation=2, ceil_mode=True)),
    "max1d ceil": (SEQUENCE, nn.MaxPool1d(2, 3, ceil_mode=True)),
    "max with indices": (MAP, Function(lambda x: F.max_pool2d_with_indices(x, (2, 2))[0])),
    "max3d": (VOLUME, nn.MaxPool3d(2, 1, 1)),
    "max3d ceil": (VOLUME, nn.MaxPool3d((3, 2, 2), 2, (1, 0, 1), ceil_mode=True)),
    "avg ceil": (MAP, nn.AvgPool2d(3, 2, 1, ceil_mode=True)),
    "avg1d ceil": (SEQUENCE, nn.AvgPool1d(2, 2, ceil_mode=True, count_include_pad=False)),
    "avg3d": (VOLUME, nn.AvgPool3d((2, 3, 2), 1, (1, 1, 0))),
    "global max": (MAP, nn.AdaptiveMaxPool2d(1)),
    "adaptive max": (MAP, nn.AdaptiveMaxPool2d((4, 3))),
    "adaptive max that divides": (MAP, nn.AdaptiveMaxPool2d((2, None))),
    "adaptive max1d": (SEQUENCE, nn.AdaptiveMaxPool1d(3)),
    "adaptive max3d": (VOLUME, nn.AdaptiveMaxPool3d((2, 3, 1))),
    "adaptive avg": (MAP, nn.AdaptiveAvgPool2d((4, 3))),
    "adaptive avg1d": (SEQUENCE, nn.AdaptiveAvgPool1d(5)),
    "adaptive avg3d": (VOLUME, nn.AdaptiveAvgPool3d((3, 2, 1))),
    "amax": (MAP, Function(lambda x: x.amax((2, 3)))),
    "amax of channels": (MAP, Function(lambda x: x.amax(1, keepdim=True))),
    "amin": (MAP, Function(lambda x: x.amin((1, 3)))),
    "max along": (MAP, Function(lambda x: x.max(-1).values + x.min(3)[0])),
    "max pool by hand": (MAP, Function(lambda x: x.reshape(len(x), 2, 3, 2, 5).amax(3))),
    "bilinear": (MAP, nn.Upsample(scale_factor=2, mode="bilinear")),
    "bilinear to the corners": (MAP, nn.Upsample((9, 4), mode="bilinear", align_corners=True)),
    "bicubic, smooth": (MAP, Function(lambda x: F.interpolate(x, (3, 3), mode="bicubic", antialias=True))),
    "linear resize": (SEQUENCE, nn.Upsample(scale_factor=2, mode="linear")),
    "trilinear": (VOLUME, nn.Upsample(scale_factor=2, mode="trilinear")),
    "nearest of any size": (MAP, Function(lambda x: F.interpolate(x, (4, 8), mode="nearest-exact"))),
    "area": (MAP, Function(lambda x: F.interpolate(x, (4, 4), mode="area"))),
    "conv3d": (VOLUME, nn.Conv3d(2, 3, (2, 3, 1), (1, 2, 1), (1, 0, 1), (2, 1, 1))),
    "conv3d in groups": (VOLUME, nn.Sequential(nn.Conv3d(2, 4, 2, groups=2, padding="same"), nn.BatchNorm3d(4))),
    "transposed3d": (VOLUME, nn.ConvTranspose3d(2, 1, 2, bias=False)),
    "matmul from the left": ((5, 3), Function(lambda x: W.T @ x)),
    "matmul by a vector": ((5, 4), Function(lambda x: x @ W[0])),
    "matmul by heads": ((2, 3, 5), Function(lambda x: x @ CUBE)),
    "einsum": (MAP, Function(lambda x: torch.einsum("bchw,wd->bdhc", x, W))),
    "einsum of heads": ((2, 3, 5), Function(lambda x: torch.einsum("bhni,hid->bnhd", x, CUBE))),
    "tensordot": ((3, 5), Function(lambda x: torch.tensordot(x, W, 1))),
    "cumsum": (VECTOR, Function(lambda x: x.cumsum(1))),
    "fixed grid": (MAP, Function(lambda x: F.grid_sample(x, GRID.expand(len(x), -1, -1, -1), align_corners=False))),
    "weight norm": (VECTOR, nn.utils.parametrizations.weight_norm(nn.Linear(6, 3))),
    "spectral norm": (VECTOR, nn.utils.parametrizations.spectral_norm(nn.Linear(6, 3))),
    "flatten by size": (MAP, Function(lambda x: x.view(-1, x.shape[1] * x.shape[2] * x.shape[3]))),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:Using padding=:UserWarning", "ignore:Initializing zero-element:UserWarning")
def test_the_graph_is_the_module_and_intervals_enclose_it(name: str) -> None:
    shape, module = CASES[name]
    module = module.eval().requires_grad_(False)
    graph = from_module(module, torch.rand(2, *shape))
    x = torch.randn(5, *shape, generator=torch.Generator().manual_seed(1))
    answers = module(x.clone())
    torch.testing.assert_close(graph.evaluate(x), answers, atol=1e-5, rtol=1e-5)
    found = interval_bounds(graph, Box(x.amin(0)[None], x.amax(0)[None]))
    lower, upper = (side.flatten(1) - sign * 1e-4 for side, sign in ((found[-1].lower, 1), (found[-1].upper, -1)))
    assert bool(((answers.flatten(1) >= lower) & (answers.flatten(1) <= upper)).all())
    for node, value in zip(graph.nodes, graph.to(torch.float64).values(x.double()), strict=True):
        assert tuple(value.shape[1:]) == node.shape


def test_maxima_stay_one_pool_where_windows_are_regular() -> None:
    for net in (nn.AdaptiveMaxPool2d(1), nn.AdaptiveMaxPool2d(2), Function(lambda x: x.amax((2, 3)))):
        graph = from_module(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), net).eval(), torch.rand(2, 1, 6, 6))
        kinds = [type(node.op).__name__ for node in graph.nodes]
        assert kinds[:4] == ["Input", "Conv2d", "Relu", "MaxPool2d"]
