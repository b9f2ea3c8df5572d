"""The feature adversary against bounded least squares, closed forms and what it is told to match."""

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize import lsq_linear
from torch import Tensor, nn

from calipers.attacks import FeatureAdversary, run_attack
from calipers.attacks.query import Query
from calipers.core.errors import InputError
from calipers.core.norms import Norm
from calipers.core.problem import Problem, Specification
from calipers.core.sets import LpBall
from tests.attacks.linear import linear_balls
from tests.contracts.test_attacks import problem
from tests.nets import dense


class Recorder(nn.Module):
    """A linear layer before outputs that never change; keeps the last input."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.inner = nn.Linear(weight.shape[1], weight.shape[0], bias=False).requires_grad_(False)
        self.inner.weight.copy_(weight)
        self.last = torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        self.last = x.detach()
        self.inner(x)
        return torch.tensor([1.0, 0.0]).expand(len(x), 2)


def unbreakable(domain: tuple[float, float] | None) -> tuple[Problem, Tensor]:
    """Balls of radius 0.2 in 12 dimensions, and guides."""
    generator = torch.Generator().manual_seed(0)
    x, guides = (torch.rand(5, 12, generator=generator) for _ in range(2))
    ball = LpBall(x, torch.full((5,), 0.2), Norm.LINF, torch.ones(()), domain)
    return Problem("net", tuple(range(5)), ball, Specification.classified_as(torch.zeros(5).long(), 2)), guides


def test_where_the_layer_keeps_angles_it_goes_to_the_nearest_point_to_the_guide() -> None:
    task, guides = unbreakable((0.0, 1.0))
    query = Query(model := Recorder(torch.linalg.qr(torch.randn(12, 12)).Q), task)
    FeatureAdversary("inner", guides).run(query, 0)
    assert torch.allclose(model.last, task.input_set.project(guides), atol=2e-3)


def test_a_linear_layer_is_matched_as_least_squares_in_the_box_are() -> None:
    task, guides = unbreakable(None)
    weight = torch.randn(8, 12, generator=torch.Generator().manual_seed(1))
    query = Query(model := Recorder(weight), task)
    FeatureAdversary("inner", guides, steps=300).run(query, 0)
    reached = ((model.last - guides) @ weight.T).square().sum(1)
    at_start = ((task.input_set.center - guides) @ weight.T).square().sum(1)
    for i in range(5):
        center = task.input_set.center[i].double().numpy()
        wanted = (weight @ guides[i]).double().numpy()
        best = 2 * lsq_linear(weight.double().numpy(), wanted, (center - 0.2, center + 0.2)).cost
        assert float(reached[i]) >= best - 1e-5
        assert float(reached[i]) <= best + 0.02 * float(at_start[i])


def test_a_guide_within_reach_breaks_the_specification_where_it_does() -> None:
    """With the inputs themselves as the layer, the balls' worst corners as guides are matched and counted."""
    linear, task, distance = linear_balls(Norm.LINF, 0.5)
    net = nn.Sequential(nn.Identity(), linear)
    slope = (linear.weight[0] - linear.weight[1]) * task.specification.C[:, 0, :1]
    corners = task.input_set.center - 0.6 * slope.sign()
    result = run_attack(FeatureAdversary("0", corners), net, task, 0)
    assert torch.equal(result.success, distance <= 0.5)
    assert 0 < int(result.success.sum()) < 16
    assert (result.forwards[~result.success] == 102).all()
    assert (result.backwards[~result.success] == 100).all()
    assert (result.forwards[result.success] < 102).all()


def test_it_stays_in_the_set_and_a_sample_does_not_depend_on_the_batch() -> None:
    net, task = problem(epsilon=0.2, ids=tuple(range(8)))
    guides = {i: task.input_set.center[(i + 3) % 8] for i in range(8)}
    attack = FeatureAdversary("3", guides)
    whole, part = (run_attack(attack, net, one, 0) for one in (task, task[[5, 2]]))
    assert task.input_set.contains(whole.adversarial).all()
    assert torch.allclose(whole.adversarial[[5, 2]], part.adversarial, atol=1e-5)
    tensor = run_attack(FeatureAdversary("3", torch.stack(list(guides.values()))), net, task, 0)
    assert torch.equal(tensor.adversarial, whole.adversarial)


def test_what_it_ran_with_can_be_recorded() -> None:
    guides = torch.rand(3, 2)
    one, same, other = (
        json.dumps(FeatureAdversary("0", images).parameters)
        for images in (guides, dict(enumerate(guides)), guides.flip(0))
    )
    assert one == same != other


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda guides: FeatureAdversary("7", guides),
            "layer '7' is not in the model; accepted: 0, 1, 2, 3, 4, 5, 6$",
        ),
        (lambda guides: FeatureAdversary("3", guides[:, :, :-1]), r"guide of sample 0 has shape .*; accepted: \(1, "),
        (lambda guides: FeatureAdversary("3", guides[:3]), "sample 3 has no guide; 3 were given"),
        (lambda guides: FeatureAdversary("3", {0: guides[0], 5: guides[0]}), "sample 1 has no guide; 2 were given"),
    ],
)
def test_what_cannot_be_matched_is_refused(change: Callable[[Tensor], FeatureAdversary], message: str) -> None:
    net, task = problem()
    with pytest.raises(InputError, match=message):
        run_attack(change(task.input_set.center), net, task, 0)


class Odd(nn.Module):
    """Layers that are called twice, never, return a pair, or one entry for all inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.never = nn.Identity(), nn.Identity()
        self.pair, self.mean = nn.LSTM(6, 2, batch_first=True), nn.AvgPool1d(16)

    def forward(self, x: Tensor) -> Tensor:
        self.pair(x[:, None])
        self.mean(x.T[None])
        return self.twice(self.twice(x))[:, :2]


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("twice", "is called 2 times in a pass"),
        ("never", "is called 0 times"),
        ("pair", "returns a tuple for 16 inputs"),
        ("mean", r"returns shape \(1, 6, 1\) for 16 inputs"),
    ],
)
def test_layers_without_one_representation_per_input_are_refused(layer: str, message: str) -> None:
    _, task, _ = linear_balls(Norm.LINF, 0.5)
    query = Query(Odd().requires_grad_(False), task)
    with pytest.raises(InputError, match=f"layer '{layer}' {message}"):
        query.features(task.input_set.center, query.everyone, layer)


def test_features_are_those_of_the_layer_with_their_gradient_and_counted() -> None:
    """A later layer in place does not change them, and no hook is left behind."""
    _, task, _ = linear_balls(Norm.LINF, 0.5)
    net = nn.Sequential(nn.Linear(6, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)).requires_grad_(False)
    query = Query(net, task)
    active = torch.tensor([2, 7, 7])
    x = task.input_set.center[active].clone().requires_grad_(True)
    features = query.features(x, active, "0")
    assert torch.equal(features, net[0](x))
    assert (features < 0).any()
    direction = torch.randn(3, 4)
    (gradient,) = torch.autograd.grad((direction * features).sum(), x)
    assert np.allclose(gradient, direction @ dense(net, 0).weight, atol=1e-6)
    assert query.forwards.sum() == query.backwards.sum() == 3
    assert query.forwards[7] == query.backwards[7] == 2
    margins = task.specification[active].margins(net(x.detach())).amin(1)
    assert torch.allclose(query.best_margin[active], margins)
    assert not net[0]._forward_hooks
