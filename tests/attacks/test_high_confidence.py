"""The high-confidence attack against closed forms: where a linear classifier gives a class a probability."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from calipers.attacks import DeepFool, HighConfidence, run_minimum_norm
from calipers.attacks.high_confidence import (
    LogOdds,
    Unrolled,
    UntilConfident,
    Versus,
    confident,
    indicator,
    nearest_boundary,
    step_towards,
)
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.core.problem import MinimumNormProblem, Specification
from tests.attacks.linear import SHAPES, exact, linear


def pair(confidence: float) -> tuple[nn.Module, MinimumNormProblem, Tensor]:
    """A linear classifier of two classes, the confident problem for the other one, and how far its answer is."""
    net, problem = linear(2, (20,), Distance.L2, None)
    logits = net(problem.center)
    wanted = torch.logit(torch.full((len(problem),), confidence))
    asked = confident(1 - logits.argmax(1), wanted, 2)
    margin = logits.amax(1) - logits.amin(1)
    weight = net[1].weight  # type: ignore[index]
    slope = (weight[0] - weight[1]).norm() * problem.scale
    return LogOdds(net), replace(problem, specification=asked), (margin + wanted) / slope


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.9999])
def test_between_two_classes_it_ends_just_beyond_the_plane_of_that_confidence(confidence: float) -> None:
    net, problem, expected = pair(confidence)
    result = run_minimum_norm(UntilConfident(longest=0.05), net, problem, 0)
    assert result.success.all()
    assert (result.distance >= expected * (1 - 1e-4)).all()
    assert (result.distance <= 1.05 * expected + 0.06).all()
    targets = 1 - net(problem.center).argmax(1)
    assert isinstance(net, LogOdds)
    reached = net(result.adversarial).sigmoid().gather(1, targets[:, None])
    assert (reached >= confidence).all()
    assert torch.allclose(reached, net.model(result.adversarial).softmax(1).gather(1, targets[:, None]), atol=1e-6)


@pytest.mark.parametrize(("classes", "shape"), SHAPES)
def test_on_a_linear_classifier_it_breaks_near_the_nearest_boundary(classes: int, shape: tuple[int, ...]) -> None:
    net, problem = linear(classes, shape, Distance.L2, None)
    result = run_minimum_norm(HighConfidence(1000, longest=0.02), net, problem, 0)
    nearest = exact(net, problem)
    assert result.success.all()
    assert (result.distance >= nearest * (1 - 1e-4)).all()
    # Probabilities rise away from all other classes, not only from the label's.
    assert float((result.distance / nearest).median()) < (1.1 if classes == 2 else 1.5)


def test_it_stays_in_the_domain_and_stops_once_it_is_confident() -> None:
    net, problem = linear(4, (3, 4, 4), Distance.L2, (0.0, 1.0))
    far, near = (run_minimum_norm(HighConfidence(1000, confidence), net, problem, 0) for confidence in (0.99, 0.5))
    assert problem.admits(far.adversarial).all()
    assert near.success.all()
    assert bool((near.distance <= far.distance * (1 + 1e-5)).all())
    assert bool((near.forwards <= far.forwards).all())
    assert bool((near.forwards < far.forwards).any())
    assert int((near.forwards + near.backwards).max()) < 1000


def test_another_attack_solves_the_same_problem_as_one_of_two_classes() -> None:
    net, problem, expected = pair(0.9)
    assert isinstance(net, LogOdds)
    target = int(net.model(problem.center).argmin(1)[0])
    here = (net.model(problem.center).argmin(1) == target).nonzero()[:, 0]
    labels = torch.zeros(len(here), dtype=torch.long)
    asked = replace(problem[here], specification=Specification.classified_as(labels, 2))
    versus = Versus(net.model, target, 0.9)
    for attack in (DeepFool(Distance.L2, 100), UntilConfident(0.9, longest=0.05)):
        found = run_minimum_norm(attack, versus, asked, 0).distance / expected[here]
        assert bool(((found >= 1 - 1e-4) & (found <= 1.1)).all())


def test_what_it_cannot_do_is_refused() -> None:
    net, problem = linear(10, (1, 8, 8), Distance.L2, None)
    with pytest.raises(InputError, match="13 propagations for 9 rows; accepted: 14 or more"):
        run_minimum_norm(HighConfidence(13), net, problem, 0)
    assert int(run_minimum_norm(HighConfidence(14), net, problem, 0).forwards.max()) <= 14
    with pytest.raises(InputError, match="confidence 1; accepted: above 0, below 1"):
        HighConfidence(100, confidence=1.0)
    with pytest.raises(InputError, match="confidence 0; accepted: above 0, below 1"):
        Versus(net, 0, 0.0)


def test_confidences_that_rounding_hides_are_told_apart_by_their_log_odds() -> None:
    """A classifier so sure that its probabilities are 1 in single precision: the distance is that of the odds."""
    net, problem = linear(2, (20,), Distance.L2, None)
    weight = net[1].weight  # type: ignore[index]
    with torch.no_grad():
        weight.mul_(20)
    odds = LogOdds(net)
    logits = net(problem.center)
    own = odds(problem.center).amax(1)
    assert bool((logits.softmax(1).amax(1) == 1).any())
    asked = replace(problem, specification=confident(1 - logits.argmax(1), own, 2))
    result = run_minimum_norm(DeepFool(Distance.L2, 100), odds, asked, 0)
    slope = (weight[0] - weight[1]).norm() * problem.scale
    assert torch.allclose(result.distance, 1.02 * 2 * own / slope, rtol=1e-3)


def test_the_step_goes_to_where_the_linearised_logarithm_is_that_of_the_confidence() -> None:
    slope = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    short = torch.tensor([10.0, -1.0])
    step = step_towards(short, slope)
    assert torch.allclose((step * slope).sum(1), short.abs() + 1e-4 * slope.norm(dim=1), rtol=1e-5)
    assert torch.allclose(step_towards(short, slope, 0.1).norm(dim=1), torch.tensor([0.1, 0.1]), rtol=1e-5)


def test_the_nearest_boundary_is_that_of_the_smallest_ratio() -> None:
    rows, slopes = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[[1.0, 0.0], [4.0, 0.0], [0.0, 4.0]]])
    assert nearest_boundary(rows, slopes).tolist() == [1]


class TestUnrolled:
    """The differentiable form."""

    def test_it_reaches_the_confidence_and_then_stands_still(self) -> None:
        net, problem = linear(4, (3, 4, 4), Distance.L2, None)
        x, targets = problem.center, (net(problem.center).argmax(1) + 1) % 4
        wanted = torch.full((len(x),), 0.8)
        thirty, forty = (Unrolled(steps)(net, x, targets, wanted) for steps in (30, 40))
        assert bool((net(forty).softmax(1).gather(1, targets[:, None]) >= 0.8).all())
        assert torch.equal(thirty, forty)

    def test_what_is_confident_already_is_left_alone(self) -> None:
        net, problem = linear(3, (20,), Distance.L2, None)
        logits = net(problem.center)
        half = logits.softmax(1).amax(1) / 2
        assert torch.equal(Unrolled()(net, problem.center, logits.argmax(1), half), problem.center)
        assert Unrolled()(net, problem.center[:0], logits.argmax(1)[:0], half[:0]).shape == (0, 20)

    def test_its_gradient_is_that_of_the_step_with_a_soft_indicator(self) -> None:
        """One step, by central differences in float64; the point it starts from does not depend on the weights."""
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(5, 7), nn.Softplus(), nn.Linear(7, 3)).double()
        x, targets, wanted = torch.rand(4, 5).double(), torch.tensor([0, 1, 2, 0]), torch.full((4,), 0.9).double()
        weight: Tensor = net[0].weight  # type: ignore[assignment]
        direction = torch.randn_like(x)
        attack = Unrolled(1)
        (found,) = torch.autograd.grad((direction * attack(net, x, targets, wanted)).sum(), weight)

        def probability() -> Tensor:
            return net(x).softmax(1).gather(1, targets[:, None]).detach()

        soft = torch.sigmoid(wanted[:, None] - probability())

        def value() -> float:
            going = 1 + torch.sigmoid(wanted[:, None] - probability()) - soft
            return float((direction * going * (attack(net, x, targets, wanted) - x)).sum().detach())

        for place in ((0, 0), (3, 2), (6, 4)):
            sides = []
            for shift in (1e-6, -1e-6):
                with torch.no_grad():
                    weight[place] += shift
                sides.append(value())
                with torch.no_grad():
                    weight[place] -= shift
            assert float(found[place]) == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-4, abs=1e-7)

    def test_the_indicator_is_hard_and_its_gradient_that_of_the_sigmoid(self) -> None:
        lacking = torch.tensor([-0.3, 0.0, 0.3], requires_grad=True)
        gate = indicator(lacking)
        assert gate.tolist() == [0, 0, 1]
        (slope,) = torch.autograd.grad(gate.sum(), lacking)
        soft = torch.sigmoid(lacking.detach())
        assert torch.allclose(slope, soft * (1 - soft))
