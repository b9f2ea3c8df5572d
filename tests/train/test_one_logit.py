"""Models with one logit for two classes: every objective trains them, as the model with the logits 0 and z."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import calipers as cal
from calipers.core.errors import InputError
from calipers.core.space import RadiusUnit
from calipers.core.tracker import Silent
from calipers.data.images import ImageDataset
from calipers.data.loading import load_dataset
from calipers.models.loading import load_model
from calipers.models.normalise import Normalise
from calipers.models.single import TwoLogits, within_one
from calipers.train import OBJECTIVES, Adversary, Optimizer, Recipe, TrainedModel, Trainer
from calipers.train.fit import two_logits
from calipers.train.objective import DataShape
from tests.train.needed import NEEDED

HERE = "tests.train.test_one_logit"
SHAPE = DataShape((1, 8, 8), 2)
FAST = Optimizer(learning_rate=5e-3)


def one_logit() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(Normalise([0.5], [0.25]), nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 1))


def probability() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.Sigmoid())


def threes_and_eights(split: str) -> ImageDataset:
    whole = load_dataset("digits", split)
    chosen = (whole.labels == 3) | (whole.labels == 8)
    return ImageDataset("pair", whole.images[chosen], (whole.labels[chosen] == 8).long(), ("three", "eight"))


def train(out: Path, **changes: Any) -> TrainedModel:
    recipe = Recipe(
        **{"model": f"{HERE}:one_logit", "data": "pair", "batch_size": 16, "epochs": 8, "optimizer": FAST, **changes}
    )
    trainer = Trainer(recipe, threes_and_eights("train"), out)
    for epoch in range(recipe.epochs):
        trainer.epoch(epoch, Silent())
    return trainer.result(trainer.finish(threes_and_eights("test")))


# One of each kind.
QUICK = ("standard", "ibp", "margin", "trades")


@pytest.mark.parametrize(
    "objective",
    [
        pytest.param(one, marks=() if one in QUICK else pytest.mark.full)
        for one in sorted(set(OBJECTIVES) - set(NEEDED))
    ],
)
def test_every_objective_trains_a_single_logit(objective: str, tmp_path) -> None:
    against = Adversary(epsilon=0.02, steps=2, unit=RadiusUnit.PIXEL, warmup=4)
    adversary = against if OBJECTIVES[objective].adversarial else None
    trained = train(tmp_path / "net.json", objective=objective, adversary=adversary)
    assert trained.metrics["test_accuracy"] > 0.8
    data = threes_and_eights("test")
    z = load_model(str(trained.card)).module(data.batch(slice(None))[0])
    assert z.shape == (len(data), 1)
    assert int(((z[:, 0] > 0) == data.labels).sum()) / len(data) == trained.metrics["test_accuracy"]


def test_a_trained_single_logit_is_measured_from_both_sides(tmp_path) -> None:
    trained = train(tmp_path / "net.json", objective="margin", settings={"weight": 0.01})
    threat = cal.ThreatModel("linf", 0.02, unit=RadiusUnit.PIXEL)
    report = cal.measure(trained.card, threes_and_eights("test"), threat, samples=40, out=tmp_path / "runs")
    certified, empirical = (report.rate(name, 0.02).measured for name in ("certified", "empirical"))
    assert 0 < certified <= empirical <= report.rate("clean").measured


def test_the_logits_are_0_and_z_and_say_what_they_are_made_of() -> None:
    model = one_logit()
    pair = two_logits("it", model, SHAPE)
    assert isinstance(pair, TwoLogits)
    assert pair.model is model
    x = torch.rand(5, 1, 8, 8)
    assert torch.equal(pair(x), torch.cat([torch.zeros(5, 1), model(x)], 1))
    assert two_logits("it", nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), SHAPE)(x).shape == (5, 2)
    assert two_logits("it", model, DataShape((1, 8, 8), 3)) is model


def test_a_probability_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match=r"probability'.*a probability; accepted for two classes: the logit in front"):
        train(tmp_path / "net.json", model=f"{HERE}:probability")


def test_probabilities_show_far_away() -> None:
    def squeezed(x: Tensor) -> Tensor:
        return (x.sum(1, keepdim=True) / 100 + 0.5).clamp(0, 1)

    inputs = torch.rand(2, 4)
    assert within_one(squeezed, inputs)
    assert not within_one(lambda x: x.sum(1, keepdim=True) / 100 + 0.5, inputs)
