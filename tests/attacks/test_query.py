"""Outputs with their graph: what they count and keep is what the other ways of asking count and keep."""

import pytest
import torch

from calipers.attacks.counted import CountedModel
from calipers.attacks.losses import smallest_margin
from calipers.attacks.query import Query
from calipers.core.distances import Distance
from tests.contracts.test_minimum_norm_attacks import problem
from tests.nets import nearest_query


def test_a_pass_back_through_the_outputs_is_counted_as_often_as_it_happens() -> None:
    net, task = problem(Distance.L2)
    query = nearest_query(net, task)
    active = torch.tensor([0, 3])
    query.logits(task.center[active], active)
    assert query.forwards.tolist() == [1, 0, 0, 1, 0, 0]
    assert query.backwards.tolist() == [0] * 6
    x = task.center[active].clone().requires_grad_(True)
    logits = query.logits(x, active)
    assert torch.equal(logits, net(task.center[active]))
    for _ in range(3):
        torch.autograd.grad(logits.square().sum() + logits.sum(), x, retain_graph=True)
    assert query.forwards.tolist() == [2, 0, 0, 2, 0, 0]
    assert query.backwards.tolist() == [3, 0, 0, 3, 0, 0]


def test_it_differentiates_and_keeps_as_the_gradient_of_a_loss_does() -> None:
    net, task = problem(Distance.L1, ids=(0, 2, 3))
    one, two = nearest_query(net, task), nearest_query(net, task)
    active = torch.arange(3)
    far = torch.rand(40, *task.center.shape, generator=torch.Generator().manual_seed(0))
    for point in far:
        _, expected = one.gradient(point, active, smallest_margin)
        x = point.clone().requires_grad_(True)
        logits = two.logits(x, active)
        (found,) = torch.autograd.grad(-task.specification.margins(logits).amin(1).sum(), x)
        assert torch.allclose(found, expected)
    assert one.best_distance.isfinite().any()
    assert torch.equal(one.best, two.best)
    assert torch.equal(one.best_distance, two.best_distance)
    assert torch.equal(one.forwards, two.forwards)
    assert torch.equal(one.backwards, two.backwards)


@pytest.mark.parametrize("nearest", [True, False])
def test_an_instance_may_come_several_times_in_a_call(nearest: bool) -> None:
    """As if every input had been a call of its own, the first of equals included."""
    net, task = problem(Distance.L2, ids=(0, 2, 3))
    points = torch.rand(60, *task.center.shape[1:], generator=torch.Generator().manual_seed(0))
    points = torch.cat([points, points])
    active = torch.randint(3, (120,), generator=torch.Generator().manual_seed(1))

    def query() -> CountedModel:
        return nearest_query(net, task) if nearest else Query(net, task.within(20.0))

    one, two = query(), query()
    one.gradient(points, active, smallest_margin)
    one.jacobian(points, active)
    for _ in range(2):
        for j in range(120):
            two.gradient(points[j : j + 1], active[j : j + 1], smallest_margin)
    assert (one.best != task.center).flatten(1).any(1).all()
    assert torch.equal(one.best, two.best)
    assert one.forwards.tolist() == two.forwards.tolist() == (2 * active.bincount()).tolist()
    assert one.backwards.tolist() == (3 * active.bincount()).tolist()  # two rows
    assert two.backwards.tolist() == (2 * active.bincount()).tolist()


@pytest.mark.parametrize("nearest", [True, False])
def test_the_outputs_of_the_best_queries_are_kept(nearest: bool) -> None:
    """They need no pass, and are the model's; any other input takes one."""
    net, task = problem(Distance.L2, ids=(0, 2, 3))
    passes = []
    net.register_forward_hook(lambda module, inputs, output: passes.append(len(inputs[0])))
    query = nearest_query(net, task) if nearest else Query(net, task.within(20.0))
    assert torch.equal(query.outputs(task.center), net(task.center))
    for seed in range(30):
        points = torch.rand(2, *task.center.shape[1:], generator=torch.Generator().manual_seed(seed))
        query.margins(points, torch.tensor([0, 2]))
    kept = (query.best != task.center).flatten(1).any(1)
    assert kept.tolist() == [True, False, True]
    expected = net(query.best)
    passes.clear()
    assert torch.allclose(query.outputs(query.best), expected, atol=1e-6)
    assert passes == [1]
    other = query.best.clone()
    other[0] = task.center[0]
    passes.clear()
    assert torch.allclose(query.outputs(other), net(other), atol=1e-6)
    assert passes == [2, 3]
    assert query.forwards.tolist() == [30, 0, 30]
