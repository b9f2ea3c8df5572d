"""L-BFGS against closed forms on linear classifiers, and against other attacks."""

import pytest
import torch
from torch import nn

from calipers.attacks import DDN, LBFGS, run_minimum_norm
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.core.problem import MinimumNormProblem, Specification
from tests.attacks.linear import SHAPES, exact, linear
from tests.contracts.test_minimum_norm_attacks import Recorder, problem
from tests.nets import dense, random_net


@pytest.mark.parametrize(("classes", "shape"), SHAPES)
def test_it_finds_the_distance_to_a_linear_boundary(classes: int, shape: tuple[int, ...]) -> None:
    net, task = linear(classes, shape, Distance.L2, None)
    ratio = run_minimum_norm(LBFGS(400), net, task, 0).distance / exact(net, task)
    assert (ratio >= 1 - 1e-4).all()
    # With several other classes the loss looks at all of them, not at the nearest boundary alone.
    assert float(ratio.max()) <= (1.02 if classes == 2 else 1.1)
    assert float(ratio.mean()) <= 1.02


def test_it_finds_the_distance_along_the_edges_of_the_box() -> None:
    """Class 1 wins where x_0 + x_1 >= 1.6; with x_0 at most 1 the nearest such input is (1, 0.6), not (1.05, 0.55)."""
    net = nn.Linear(2, 2).requires_grad_(False)
    net.weight.copy_(torch.tensor([[0.0, 0.0], [5.0, 5.0]]))
    net.bias.copy_(torch.tensor([8.0, 0.0]))
    center = torch.tensor([[0.9, 0.4]])
    specification = Specification.classified_as(torch.tensor([0]), 2)
    sample = MinimumNormProblem("box", (0,), center, Distance.L2, torch.tensor(0.5), (0.0, 1.0), specification)
    result = run_minimum_norm(LBFGS(600), net, sample, 0)
    assert torch.allclose(result.adversarial, torch.tensor([[1.0, 0.6]]), atol=2e-3)
    assert float(result.distance) == pytest.approx((0.1**2 + 0.2**2) ** 0.5 / 0.5, rel=5e-3)


def test_it_is_about_as_near_as_ddn_on_networks() -> None:
    """Either ends in another local minimum now and then, and the last bit of a sum decides in which."""
    ratios = torch.cat([beside_ddn(seed) for seed in range(4)])
    assert len(ratios) >= 20
    assert float(ratios.median()) <= 1.05
    assert float((ratios <= 1.1).float().mean()) >= 0.75


def beside_ddn(seed: int) -> torch.Tensor:
    """Distances over DDN's, of the samples that both break, on a network of this seed."""
    net, shape = random_net("conv", seed)
    x = torch.rand(6, *shape, generator=torch.Generator().manual_seed(seed))
    specification = Specification.classified_as(net(x).argmax(1), 3)
    task = MinimumNormProblem("net", tuple(range(6)), x, Distance.L2, torch.tensor(0.5), (0.0, 1.0), specification)
    one, two = (run_minimum_norm(attack(400), net, task, 0).distance for attack in (LBFGS, DDN))
    return (one / two)[one.isfinite() & two.isfinite()]


def test_what_is_left_goes_to_random_starts() -> None:
    """A long budget begins with the same search from the centre; what it asks after that, draws decide."""
    net, task = problem(Distance.L2, ids=(0, 2, 4))
    single = run_minimum_norm(LBFGS(200), net, task, 0)
    one, two = Recorder(net), Recorder(net)
    long, _ = (run_minimum_norm(LBFGS(1000), net, task, seed) for seed, net in enumerate([one, two]))
    assert (long.distance <= single.distance).all()
    last_query = -2 - len(task)  # before the grading, of the batch and of every success alone
    assert torch.equal(one.seen[1], two.seen[1])
    assert not torch.equal(one.seen[last_query], two.seen[last_query])


def test_a_confident_network_has_a_gradient_too() -> None:
    net, task = linear(4, (3, 4, 4), Distance.L2, None)
    loud = nn.Sequential(net, nn.Linear(4, 4, bias=False)).requires_grad_(False)
    dense(loud, 1).weight.copy_(1e4 * torch.eye(4))
    assert run_minimum_norm(LBFGS(300), loud, task, 0).success.all()


def test_a_budget_without_room_for_a_step_is_refused() -> None:
    net, task = linear(2, (20,), Distance.L2, None)
    with pytest.raises(InputError, match="2 propagations; accepted: 3 or more"):
        run_minimum_norm(LBFGS(2), net, task, 0)
