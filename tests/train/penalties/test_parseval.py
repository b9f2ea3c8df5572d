"""Parseval regularisation against the matrices of whole layers, by brute force."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from calipers.train.penalties.parseval import Parseval, matrices, residual

LAYERS = {
    "plain": nn.Conv2d(2, 5, 3, padding=1, bias=False),
    "strided": nn.Conv2d(3, 4, 4, stride=2, padding=1, bias=False),
    "apart": nn.Conv2d(2, 3, 2, stride=3, bias=False),
    "dilated": nn.Conv2d(1, 3, 3, stride=2, dilation=2, padding=2, bias=False),
    "dilated and strided alike": nn.Conv2d(1, 3, 4, stride=4, dilation=2, bias=False),
    "in groups": nn.Conv2d(4, 6, 2, groups=2, bias=False),
    "of series": nn.Conv1d(3, 4, 3, bias=False),
}


def whole(layer: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """The matrix that maps inputs of this shape to outputs, a column for each value of the input."""
    values = torch.Size(shape).numel()
    with torch.no_grad():
        return layer(torch.eye(values, dtype=torch.float64).reshape(values, *shape)).flatten(1).T


def inputs(layer: nn.Conv1d | nn.Conv2d, side: int) -> tuple[int, ...]:
    return (layer.in_channels, *([side] * len(layer.kernel_size)))


@pytest.mark.parametrize("sides", [(3, 7), (7, 3), (4, 4)])
def test_the_residual_is_0_for_orthonormal_rows_or_columns_alone(sides: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(sides[1], sides[0]).double()
    nn.init.orthogonal_(layer.weight)
    model = nn.Sequential(layer)
    x, y = torch.zeros(1, sides[1]).double(), torch.zeros(1).long()
    assert Parseval(weight=1.0).value(model, x, y).item() == pytest.approx(0, abs=1e-12)
    nn.init.normal_(layer.weight)
    squares = torch.linalg.svdvals(layer.weight).square()
    expected = (squares - 1).square().sum() / 2
    assert Parseval(weight=1.0).value(model, x, y).item() == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize("name", LAYERS)
def test_a_window_is_multiplied_by_the_matrix_and_the_residual_is_that_of_its_gram(name: str) -> None:
    torch.manual_seed(0)
    layer = LAYERS[name].double()
    assert isinstance(layer, nn.Conv1d | nn.Conv2d)
    expected = 0.0
    scales = []
    for group, rows in enumerate(layer.weight.chunk(layer.groups)):
        (scale,) = {round(float(value), 9) for value in (matrices(layer)[group] / rows.flatten(1)).flatten().detach()}
        scales.append(scale)
        matrix = rows.flatten(1) * scale
        products = [matrix @ matrix.T, matrix.T @ matrix]
        gram = min(products, key=len)
        for i, j in itertools.product(range(len(gram)), repeat=2):
            expected += (float(gram[i, j].detach()) - (i == j)) ** 2 / 2
    found = Parseval(weight=1.0).value(nn.Sequential(layer), torch.zeros(1), torch.zeros(1).long())
    assert found.item() == pytest.approx(expected, rel=1e-8)
    # The scale: how many windows see an input at most, counted in the matrix of the whole layer.
    seen = (whole(layer, inputs(layer, 13)) != 0).sum(0).max() / (layer.out_channels // layer.groups)
    assert scales[0] ** 2 == pytest.approx(float(seen))


@pytest.mark.parametrize("name", LAYERS)
def test_a_convolution_with_residual_0_lengthens_no_difference(name: str) -> None:
    torch.manual_seed(0)
    layer = LAYERS[name].double()
    assert isinstance(layer, nn.Conv1d | nn.Conv2d)
    with torch.no_grad():
        groups = zip(matrices(layer), layer.weight.chunk(layer.groups), strict=True)
        scales = [matrix / rows.flatten(1) for matrix, rows in groups]
        parts = [nn.init.orthogonal_(torch.empty_like(scale)) / scale for scale in scales]
        layer.weight.copy_(torch.cat(parts).reshape(layer.weight.shape))
    assert sum(residual(matrix).item() for matrix in matrices(layer)) == pytest.approx(0, abs=1e-12)
    largest = torch.linalg.matrix_norm(whole(layer, inputs(layer, 9)), 2)
    assert 0.2 < float(largest) <= 1 + 1e-9


def test_training_on_it_alone_makes_layers_orthonormal() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 5))
    x, y = torch.zeros(1), torch.zeros(1).long()
    optimizer = torch.optim.SGD(model.parameters(), 5e-3)
    for _ in range(1000):
        optimizer.zero_grad()
        loss = Parseval(weight=1.0).value(model, x, y)
        loss.backward()
        optimizer.step()
    assert loss.item() < 1e-6
