"""Averages of weights against torch's own and against their formulas."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn

from calipers.data.images import ImageDataset
from calipers.train.averaging import Average, Averaging
from calipers.train.objective import Progress

EPOCHS, BATCHES = 4, 3


def network() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2))


def walk(averaging: Averaging, model: nn.Module, after_step) -> Average | None:
    """The average along random weights."""
    average = None
    for epoch in range(EPOCHS):
        for batch in range(BATCHES):
            with torch.no_grad():
                for value in model.parameters():
                    value.add_(torch.randn_like(value))
                model(torch.randn(6, 1, 2, 2))
            average = averaging.updated(average, model, Progress(epoch, EPOCHS, batch, BATCHES))
            after_step(epoch, batch)
    return average


@pytest.mark.parametrize("start", [0.0, 0.5, 0.99])
def test_swa_is_the_mean_over_the_ends_of_epochs_as_torch_has_it(start: float) -> None:
    torch.manual_seed(0)
    model, averaging = network(), Averaging(kind="swa", start=start)
    theirs = AveragedModel(model)

    def after_step(epoch: int, batch: int) -> None:
        if batch + 1 == BATCHES and (epoch + 1) / EPOCHS >= start:
            theirs.update_parameters(model)

    average = walk(averaging, model, after_step)
    assert average is not None
    assert average.count == {0.0: 4, 0.5: 3, 0.99: 1}[start]
    ours = network()
    ours.load_state_dict(average.weights)
    for one, two in zip(ours.parameters(), theirs.module.parameters(), strict=True):
        torch.testing.assert_close(one, two)
    images, labels = torch.rand(1100, 1, 2, 2), torch.zeros(1100, dtype=torch.int64)
    data = ImageDataset("some", images, labels, ("0", "1"))
    averaging.settle(ours, data)
    update_bn([images[:500], images[500:1000], images[1000:]], theirs)
    torch.testing.assert_close(ours(images[:9]), theirs.eval()(images[:9]))
    assert not ours.training
    assert [layer.momentum for layer in ours if isinstance(layer, nn.BatchNorm1d)] == [0.1]


def test_ema_is_the_recursion_whose_decay_grows() -> None:
    torch.manual_seed(0)
    model, averaging, expected = network(), Averaging(kind="ema", decay=0.5), None
    seen: list[torch.Tensor] = []

    def after_step(epoch: int, batch: int) -> None:
        seen.append(model.state_dict()["1.weight"].clone())

    average = walk(averaging, model, after_step)
    for steps, weight in enumerate(seen):
        kept = 0.0 if expected is None else min(0.5, (1 + steps) / (10 + steps))
        expected = weight if expected is None else kept * expected + (1 - kept) * weight
    assert average is not None
    torch.testing.assert_close(average.weights["1.weight"], expected)
    assert int(average.weights["2.num_batches_tracked"]) == EPOCHS * BATCHES
    before = average.weights["2.running_mean"].clone()
    averaging.settle(model, ImageDataset("x", torch.rand(2, 1, 2, 2), torch.zeros(2, dtype=torch.int64), ("0", "1")))
    assert torch.equal(average.weights["2.running_mean"], before)


def test_an_average_does_not_change_with_the_model() -> None:
    model = network()
    average = Averaging(kind="ema").updated(None, model, Progress(0, 1, 0, 2))
    assert average is not None
    with torch.no_grad():
        next(model.parameters()).add_(1)
    assert not torch.equal(average.weights["1.weight"], model.state_dict()["1.weight"])
    assert Averaging().updated(None, model, Progress(0, 1, 0, 2)) is None
