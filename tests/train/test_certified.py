"""Certified objectives: against the bounds room on the frozen network, finite differences, and points of the balls."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calipers.bounds import CAPM, CROWN, IBP, WorkBudget
from calipers.core.problem import Specification
from calipers.core.threat import ThreatModel
from calipers.graph.from_torch import from_module
from calipers.train import OBJECTIVES
from calipers.train.objective import Loss, Minimised, Progress
from calipers.train.objectives.capm import DualTraining
from calipers.train.objectives.certified import (
    FromIntervals,
    Ramp,
    against_others,
    interval_margins,
    worst_case_loss,
)
from calipers.train.objectives.clean import clean_pass
from calipers.train.objectives.ibp import IntervalTraining
from calipers.train.objectives.linear import LinearTraining, mixed_margins, nearest
from calipers.train.objectives.mtl_ibp import AttackAndIntervals
from calipers.train.objectives.pgd import AdversarialPGD
from calipers.train.objectives.registry import Inner
from calipers.train.objectives.sabr import SmallBoxes
from calipers.train.objectives.standard import Standard
from calipers.train.penalties.l1 import L1
from calipers.train.penalties.penalised import Penalised
from tests.soundness.layers import Residual

AT = Progress(3, 10, 0, 1)
INNER = Inner(ThreatModel("linf", 0.05).for_model(None), 4, 0.5)
NETS = ("plain", "maxpool", "batchnorm", "residual")


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def net(kind: str) -> nn.Module:
    """With 3 outputs, for inputs (1, 6, 6)."""
    torch.manual_seed(len(kind))
    first: list[nn.Module] = [nn.Conv2d(1, 4, 3, padding=1)]
    match kind:
        case "maxpool":
            middle: list[nn.Module] = [nn.ReLU(), nn.MaxPool2d(2, 1), nn.Conv2d(4, 4, 2), nn.ReLU()]
        case "batchnorm":
            middle = [nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()]
        case "residual":
            middle = [Residual(nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))), nn.ReLU(), nn.Conv2d(4, 4, 3)]
        case _:
            middle = [nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU()]
    return nn.Sequential(*first, *middle, nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3)).train()


def batch(size: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(size, 1, 6, 6, generator=generator), torch.randint(3, (size,), generator=generator)


def bounded(kappa: float = 0.0) -> Loss:
    return IntervalTraining(INNER, Ramp(kappa, kappa))


NONE = Ramp(0.0, 0.0)
# Losses that no point of the ball exceeds.
UPPER: dict[str, Loss] = {
    "ibp": bounded(),
    "crown-ibp": LinearTraining(INNER, CROWN, NONE, Ramp(1.0, 1.0)),
    "crown-ibp mixed": LinearTraining(INNER, CROWN, NONE, Ramp(0.4, 0.4)),
    "capm": LinearTraining(INNER, CAPM, NONE, Ramp(1.0, 1.0)),
    "capm walks": DualTraining(INNER, NONE),
}
# Random starts of their attacks come from the global generator.
OTHERS: dict[str, Loss] = {"sabr": SmallBoxes(INNER, 0.4), "mtl-ibp": AttackAndIntervals(INNER, 0.3)}


@pytest.mark.parametrize("kind", NETS)
def test_the_interval_loss_is_that_of_sound_intervals_on_the_frozen_network(kind: str) -> None:
    model, (x, y) = net(kind), batch()
    model(x)
    model.eval()  # BatchNorm as it is deployed
    graph = from_module(model, x).to(torch.float64)
    asked = Specification.classified_as(y, 3)
    sound = IBP.margins(graph, INNER.threat.around(x), asked, WorkBudget()).lower
    found = bounded().loss(model, x, y, AT)
    assert found.item() == pytest.approx(worst_case_loss(sound).item(), rel=1e-3)
    assert found.item() <= worst_case_loss(sound).item()


@pytest.mark.parametrize("name", [*UPPER, *OTHERS])
@pytest.mark.parametrize("kind", NETS)
def test_gradients_are_finite_differences(kind: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, (x, y) = net(kind), batch()
    moved = AdversarialPGD(INNER).perturb(model, x, y)
    monkeypatch.setattr(AdversarialPGD, "perturb", lambda *given: moved)  # attacks jump where signs change
    parameters, loss = list(model.parameters()), {**UPPER, **OTHERS}[name]
    gradients = torch.autograd.grad(loss.loss(model, x, y, AT), parameters)
    assert all(bool(gradient.any()) for gradient in gradients if gradient.dim() > 1)
    torch.manual_seed(0)
    ways = [torch.randn_like(parameter) for parameter in parameters]
    slope = sum(float((g * way).sum()) for g, way in zip(gradients, ways, strict=True))
    values = []
    for sign in (1, -1):
        for parameter, way in zip(parameters, ways, strict=True):
            parameter.data += sign * 1e-8 * way
        values.append(loss.loss(model, x, y, AT).item())
        for parameter, way in zip(parameters, ways, strict=True):
            parameter.data -= sign * 1e-8 * way
    assert (values[0] - values[1]) / 2e-8 == pytest.approx(slope, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", UPPER)
@pytest.mark.parametrize("kind", NETS)
def test_the_loss_is_above_that_of_every_point_found_in_the_balls(kind: str, name: str) -> None:
    model, (x, y) = net(kind), batch()
    model(x)
    model.eval()
    above = UPPER[name].loss(model, x, y, AT).item()
    attacked = AdversarialPGD(INNER).perturb(model, x, y)
    drawn = [INNER.threat.around(x).sample(torch.default_generator) for _ in range(20)]
    for point in (x, attacked, *drawn):
        assert F.cross_entropy(model(point), y).item() <= above


def test_batch_norm_in_training_takes_the_statistics_of_clean_inputs() -> None:
    model, (x, _) = net("batchnorm"), batch(20)
    logits, graph = clean_pass(model, x)
    with torch.no_grad():
        values = graph.evaluate(x)
    torch.testing.assert_close(values, logits.detach())
    before = model[1].running_mean.clone()  # type: ignore[index]
    clean_pass(model.eval(), x)
    assert torch.equal(before, model[1].running_mean)  # type: ignore[index]


def test_a_radius_of_zero_and_a_clean_loss_are_plain_training() -> None:
    model, (x, y) = net("plain"), batch()
    plain = Standard().loss(model, x, y, AT).item()
    held = Inner(INNER.threat, 1, 1.0, hold=5.0, warmup=2.0)
    for inner, kappa in ((held, 0.0), (INNER, 1.0)):
        assert IntervalTraining(inner, Ramp(kappa, kappa)).loss(model, x, y, AT).item() == pytest.approx(
            plain, rel=1e-9
        )


def test_the_radius_grows_smoothly_from_nothing_to_all() -> None:
    inner = Inner(INNER.threat, 1, 1.0, hold=2.0, warmup=4.0)
    steps = [Progress(epoch, 8, part, 100) for epoch in range(8) for part in range(100)]
    radii = torch.tensor([inner.at(step).threat.epsilon for step in steps])
    assert bool((radii[:200] == 0).all() and (radii[599:] == 0.05).all())
    growth = radii.diff()[199:599]
    assert bool((growth >= 0).all() and (growth[40:] > 0).all())
    # Smooth at the start and where the power becomes a line: no jump of the growth.
    assert float(growth.diff().abs().max()) < 0.4 * float(growth.max())
    assert float(growth[40:].diff().abs().max()) < 0.03 * float(growth.max())
    assert inner.warmed(Progress(3, 8, 99, 100)) == pytest.approx(0.5)
    assert inner.at(steps[0]).at(steps[-1]).threat.epsilon == 0


def test_the_start_keeps_the_width_of_intervals() -> None:
    layers = [layer for _ in range(6) for layer in (nn.Linear(300, 300), nn.ReLU())]
    model = nn.Sequential(*layers)
    torch.manual_seed(0)
    FromIntervals(Minimised(bounded())).init(model, lambda parameters: torch.optim.SGD(parameters, 0.1))
    width = torch.ones(300)
    for layer in layers[::2]:
        assert isinstance(layer, nn.Linear)
        width = layer.weight.detach().abs() @ width / 2  # a ReLU keeps half of a width that lies around 0
        assert not bool(layer.bias.any())
    assert float(width.mean()) == pytest.approx(1.0, rel=0.05)


def test_the_penalty_is_the_sum_of_absolute_weights_without_biases() -> None:
    model, (x, y) = net("batchnorm"), batch()
    weights = [layer.weight for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    plain = Standard().loss(model, x, y, AT)
    found = Penalised(Standard(), (L1(weight=0.5),)).loss(model, x, y, AT)
    assert (found - plain).item() == pytest.approx(0.5 * sum(w.abs().sum().item() for w in weights))


@pytest.mark.parametrize("kind", NETS)
def test_the_mixture_with_intervals_ends_at_either_bound(kind: str) -> None:
    model, (x, y) = net(kind), batch()
    logits, graph = clean_pass(model.eval(), x)
    sets, asked = INNER.threat.around(x), against_others(logits, y)
    intervals = interval_margins(graph, sets, asked)
    torch.testing.assert_close(mixed_margins(CROWN, graph, sets, asked, 0.0), intervals)
    walked = mixed_margins(CROWN, graph, sets, asked, 1.0)
    torch.testing.assert_close(mixed_margins(CROWN, graph, sets, asked, 0.25), 0.25 * walked + 0.75 * intervals)
    # Over boxes that settle every ReLU and maxpool the walk sees one affine function; intervals lose it layer by layer.
    near = ThreatModel("linf", 1e-6).for_model(None).around(x)
    walked, intervals = mixed_margins(CROWN, graph, near, asked, 1.0), mixed_margins(CROWN, graph, near, asked, 0.0)
    assert bool((walked >= intervals - 1e-12).all())


def test_only_the_nearest_classes_take_part_while_there_are_walks() -> None:
    model, (x, y) = net("plain"), batch()
    sets = INNER.threat.around(x)
    logits, graph = clean_pass(model, x)
    asked = against_others(logits, y)
    margins = interval_margins(graph, sets, asked)
    near = nearest(asked, margins, 1)
    torch.testing.assert_close(interval_margins(graph, sets, near), margins.amin(1, keepdim=True))
    for beta, expected in ((Ramp(0.5, 0.5), mixed_margins(CROWN, graph, sets, near, 0.5)), (NONE, margins)):
        found = LinearTraining(INNER, CROWN, NONE, beta, classes=1).loss(model, x, y, AT)
        assert found.item() == pytest.approx(worst_case_loss(expected).item())
    assert len(nearest(asked, margins, 5).d[0]) == 2


@pytest.mark.parametrize("kind", NETS)
def test_capm_with_walks_is_the_verifier_on_the_frozen_network(kind: str) -> None:
    model, (x, y) = net(kind), batch()
    model(x)
    model.eval()
    graph = from_module(model, x).to(torch.float64)
    verified = CAPM.margins(graph, INNER.threat.around(x), Specification.classified_as(y, 3), WorkBudget()).lower
    found = DualTraining(INNER, NONE).loss(model, x, y, AT).item()
    assert found == pytest.approx(worst_case_loss(verified).item(), rel=1e-6)
    # Tighter inner bounds make a tighter loss, on average over a batch.
    assert found <= LinearTraining(INNER, CAPM, NONE, Ramp(1.0, 1.0)).loss(model, x, y, AT).item()


@pytest.mark.parametrize("kind", NETS)
def test_small_boxes_are_as_large_as_tau_says(kind: str) -> None:
    model, (x, y) = net(kind), batch()
    model(x)
    model.eval()
    whole = SmallBoxes(INNER, 1.0).loss(model, x, y, AT).item()
    assert whole == pytest.approx(bounded().loss(model, x, y, AT).item(), rel=1e-9)
    torch.manual_seed(0)
    assert SmallBoxes(INNER, 0.1).loss(model, x, y, AT).item() < whole
    # A point alone: the attack's own loss.
    torch.manual_seed(0)
    moved = AdversarialPGD(INNER).perturb(model, x, y)
    torch.manual_seed(0)
    found = SmallBoxes(INNER, 1e-12).loss(model, x, y, AT).item()
    assert found == pytest.approx(F.cross_entropy(model(moved), y).item(), rel=1e-6)


@pytest.mark.parametrize("kind", NETS)
def test_the_mixture_of_attack_and_intervals_is_a_mean_of_both(kind: str) -> None:
    model, (x, y) = net(kind), batch()
    model(x)
    model.eval()
    ends = []
    for alpha in (0.0, 1.0, 0.25):
        torch.manual_seed(0)
        ends.append(AttackAndIntervals(INNER, alpha).loss(model, x, y, AT).item())
    assert ends[2] == pytest.approx(0.75 * ends[0] + 0.25 * ends[1])
    assert ends[1] == pytest.approx(bounded().loss(model, x, y, AT).item())
    torch.manual_seed(0)
    moved = AdversarialPGD(INNER).perturb(model, x, y)
    assert ends[0] == pytest.approx(F.cross_entropy(model(moved), y).item())


@pytest.mark.parametrize("name", ["ibp", "crown-ibp", "capm", "sabr", "mtl-ibp"])
def test_a_step_changes_the_weights_and_says_its_loss(name: str) -> None:
    kind: Any = OBJECTIVES[name]
    model, (x, y) = net("maxpool"), batch()
    torch.manual_seed(0)
    objective = kind.make(kind.settings(l1=1e-4), INNER)
    state = objective.init(model, lambda parameters: torch.optim.Adam(parameters, 0.01))
    losses = []
    for _ in range(30):
        state, metrics = objective.step(state, x, y, AT)
        losses.append(metrics["loss"])
    assert losses[-1] < losses[0]
