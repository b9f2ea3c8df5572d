"""What splits have taught."""

import torch

from calipers.verify.branching.pseudo_costs import PseudoCosts


def test_before_anything_is_known_the_largest_gap_promises_most() -> None:
    gap = torch.tensor([[0.1, 3.0, -torch.inf, 0.5]])
    promise = PseudoCosts(4).promise(gap)
    assert promise.argmax() == 1
    assert promise[0, 2] == -torch.inf


def test_places_that_raised_more_for_their_gap_promise_more() -> None:
    costs = PseudoCosts(3)
    side, place = torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1])
    costs.learn(side, place, torch.full((4,), 4.0), torch.tensor([0.2, 0.2, 2.0, 2.0]))
    low, high = costs.gains(torch.tensor([0, 1]), torch.full((2,), 4.0)).unbind(1)
    assert bool((low < high).all())
    # A place that was never seen takes the mean of the others.
    mean = costs.gains(torch.tensor([2]), torch.tensor([4.0]))
    torch.testing.assert_close(mean, torch.full((2, 1), 1.1))
    assert costs.promise(torch.full((1, 3), 4.0)).argmax() == 1


def test_expectations_approach_what_is_observed() -> None:
    costs = PseudoCosts(2)
    for _ in range(200):
        costs.learn(torch.tensor([0, 1]), torch.tensor([1, 1]), torch.full((2,), 0.25), torch.tensor([0.5, 3.0]))
        costs.learn(torch.tensor([0, 1]), torch.tensor([0, 0]), torch.full((2,), 1.0), torch.tensor([9.0, 9.0]))
    found = costs.gains(torch.tensor([1]), torch.tensor([0.25]))
    torch.testing.assert_close(found, torch.tensor([[0.5], [3.0]]), rtol=2e-2, atol=0)
    assert costs.observed(torch.tensor([0, 1])).tolist() == [200, 200]


def test_losses_and_empty_gaps_teach_nothing_wrong() -> None:
    costs = PseudoCosts(2)
    costs.learn(torch.tensor([0, 1]), torch.tensor([0, 1]), torch.tensor([0.0, 1.0]), torch.tensor([1.0, -1.0]))
    assert costs.observed(torch.tensor([0])).item() == 0
    assert bool((costs.gains(torch.tensor([0, 1]), torch.ones(2)) >= 0).all())
    assert bool(torch.isfinite(costs.gains(torch.tensor([0, 1]), torch.ones(2))).all())
