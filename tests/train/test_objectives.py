"""Objectives by their formulas, and two players behind the same protocol."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calipers.core.threat import ThreatModel
from calipers.core.tracker import Silent
from calipers.data.loading import load_dataset
from calipers.models.loading import load_model
from calipers.train import OBJECTIVES, Recipe, Trainer
from calipers.train.augmentation import Augmentation
from calipers.train.objective import DataShape, Metrics, Objective, OptimizerMaker, Progress, State, fitted
from calipers.train.objectives.fgsm import AdversarialFGSM
from calipers.train.objectives.registry import Inner, ObjectiveKind
from calipers.train.objectives.settings import LossSettings
from calipers.train.objectives.standard import Standard
from calipers.train.objectives.trades import Trades
from calipers.train.schedule import Schedule
from tests.train.needed import NEEDED

AT = Progress(0, 1, 0, 1)
INNER = Inner(ThreatModel("linf", 0.1).for_model(None), 3, 0.5)


@pytest.fixture
def batch() -> tuple[nn.Module, Tensor, Tensor]:
    model = load_model("digits.maxpool").module.requires_grad_(True).train()
    return model, *load_dataset("digits", "train", 32).batch(range(32))


def test_trades_without_the_divergence_is_the_clean_loss(batch: tuple[nn.Module, Tensor, Tensor]) -> None:
    torch.manual_seed(0)
    assert torch.equal(Trades(INNER, 0.0).loss(*batch, AT), Standard().loss(*batch, AT))


def test_trades_adds_the_divergence_of_the_model_from_itself_nearby(batch: tuple[nn.Module, Tensor, Tensor]) -> None:
    clean = Standard().loss(*batch, AT).detach()
    torch.manual_seed(0)
    once = Trades(INNER, 1.0).loss(*batch, AT).detach() - clean
    torch.manual_seed(0)
    twice = Trades(INNER, 2.0).loss(*batch, AT).detach() - clean
    assert float(once) > 0
    assert float(twice) == pytest.approx(2 * float(once), rel=1e-2)


def test_fgsm_of_a_linear_model_is_the_loss_at_the_corner() -> None:
    torch.manual_seed(0)
    last = nn.Linear(64, 2)
    linear = nn.Sequential(nn.Flatten(), last).train()
    x, y = torch.full((8, 1, 8, 8), 0.5), torch.randint(2, (8,))
    weight = last.weight
    # The loss of the label grows most along the sign of the other class's weights less its own.
    corner = x.flatten(1) + 0.1 * (weight[1 - y] - weight[y]).sign()
    expected = 0.25 * F.cross_entropy(linear(x), y) + 0.75 * F.cross_entropy(linear(corner), y)
    found = AdversarialFGSM(INNER, 0.25).loss(linear, x, y, AT)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_the_inner_maximisation_leaves_no_gradient_and_the_model_as_it_was(
    name: str, batch: tuple[nn.Module, Tensor, Tensor]
) -> None:
    model, x, y = batch
    kind = OBJECTIVES[name]
    made = kind.make(kind.settings(**NEEDED.get(name, {})), INNER if kind.adversarial else None)
    objective = fitted(made, DataShape((1, 8, 8), 10))
    state = objective.init(model, lambda parameters: torch.optim.SGD(parameters, 0.0))
    before = [parameter.clone() for parameter in model.parameters()]
    _, metrics = objective.step(state, x, y, AT)
    assert metrics["loss"] > 0
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(one, two) for one, two in zip(before, model.parameters(), strict=True))


@dataclass(frozen=True)
class Duel:
    """A classifier against a critic that tells the right ones of its answers from the wrong: two of everything."""

    def init(self, model: nn.Module, optimizer: OptimizerMaker) -> State:
        critic = nn.Linear(10, 1)
        networks = {"model": model, "critic": critic}
        optimizers = {"model": optimizer(model.parameters()), "critic": torch.optim.SGD(critic.parameters(), 0.1)}
        return State(networks, optimizers, {"trust": torch.zeros(1)})

    def step(self, state: State, x: Tensor, y: Tensor, progress: Progress) -> tuple[State, Metrics]:
        logits = state.model.train()(x)
        right = (logits.argmax(1) == y).float()
        told = state.networks["critic"](logits.detach())[:, 0]
        critic = F.binary_cross_entropy_with_logits(told, right)
        own = F.cross_entropy(logits, y) - 0.1 * state.networks["critic"](logits).mean()
        for name, loss in (("critic", critic), ("model", own)):
            state.optimizers[name].zero_grad()
            loss.backward(retain_graph=name == "critic")
        for optimizer in state.optimizers.values():
            optimizer.step()
        trust = 0.9 * state.values["trust"] + 0.1 * right.mean()
        return State(state.networks, state.optimizers, {"trust": trust}), {"loss": own.item(), "critic": critic.item()}


def test_two_players_fit_the_protocol_and_resume_bit_for_bit(tmp_path: Path) -> None:
    if "duel" not in OBJECTIVES:
        OBJECTIVES.add("duel")(ObjectiveKind(LossSettings, False, lambda settings, inner: Duel()))
    assert isinstance(Duel(), Objective)
    data = load_dataset("digits", "train", 120)
    recipe = Recipe(
        model="digits.maxpool", data="digits", objective="duel", epochs=2, batch_size=40, checkpoint_every=1
    )

    class Stop:
        def advance(self, doing: str, done: int) -> None:
            if done in (2, 5):
                raise KeyboardInterrupt

    whole, parts = (Trainer(recipe, data, tmp_path / f"{name}.json") for name in ("whole", "parts"))
    with pytest.raises(KeyboardInterrupt):
        parts.epoch(1, Stop())
    ended = [(trainer.epoch(0, Silent()).metrics, trainer.epoch(1, Silent()).metrics) for trainer in (whole, parts)]
    assert ended[0] == ended[1]
    assert set(ended[0][0]) == {"loss", "critic"}
    kept = [torch.load(trainer.checkpoint, weights_only=True)["state"] for trainer in (whole, parts)]
    assert torch.equal(kept[0]["values"]["trust"], kept[1]["values"]["trust"])
    for network in ("model", "critic"):
        for name, weight in kept[0]["networks"][network].items():
            assert torch.equal(weight, kept[1]["networks"][network][name])


def test_shifted_images_are_moved_whole() -> None:
    torch.manual_seed(0)
    x = torch.zeros(50, 2, 7, 7)
    x[:, :, 3, 3] = 1
    moved = Augmentation(shift=2).apply(x)
    assert bool((moved.flatten(1).sum(1) == 2).all())
    places = {tuple(image[0].nonzero()[0].tolist()) for image in moved}
    assert places <= {(i, j) for i in range(1, 6) for j in range(1, 6)}
    assert len(places) > 10
    assert torch.equal(Augmentation().apply(x), x)
    flipped = Augmentation(flip=True).apply(torch.arange(7.0).expand(50, 1, 7, 7))
    assert {float(image[0, 0, 0]) for image in flipped} == {0.0, 6.0}


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (Schedule(), [1, 1, 1, 1]),
        (Schedule(shape="step", milestones=(0.5,)), [1, 1, 0.1, 0.1]),
        (Schedule(shape="cosine"), [1, 0.853553, 0.5, 0.146447]),
        (Schedule(shape="cyclic"), [0, 0.5, 1, 0.5]),
        (Schedule(warmup=2.0), [0.5, 1, 1, 1]),
    ],
)
def test_schedules_by_their_formulas(schedule: Schedule, factors: list[float]) -> None:
    assert [schedule.at(Progress(epoch, 4, 0, 1)) for epoch in range(4)] == pytest.approx(factors, abs=1e-6)
