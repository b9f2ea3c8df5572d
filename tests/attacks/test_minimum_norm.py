"""The final place of minimum-norm attacks, on attacks that query what a test tells them to."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from calipers.attacks import at_epsilon, run_minimum_norm
from calipers.attacks.nearest_query import NearestQuery
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.core.problem import MinimumNormProblem, Specification
from calipers.core.results import Counterexample


@dataclass(frozen=True)
class Scripted:
    """Queries the given points of shape (queries, batch, 2)."""

    points: Tensor
    distances: frozenset[Distance] = frozenset(Distance)
    name: str = "scripted"

    @property
    def parameters(self) -> dict[str, Any]:
        return {}

    def run(self, query: NearestQuery, seed: int) -> None:
        for x in self.points:
            query.margins(x, torch.arange(len(x)))


def problem(count: int = 1, distance: Distance = Distance.L2) -> MinimumNormProblem:
    """The identity as a classifier: x[0] > x[1] holds at (1, 0), and breaks at distance 1/sqrt(2) in l2."""
    center = torch.tensor([[1.0, 0.0]]).expand(count, 2).clone()
    labels = torch.zeros(count, dtype=torch.long)
    specification = Specification.classified_as(labels, 2)
    return MinimumNormProblem(
        "identity", tuple(range(count)), center, distance, torch.ones(()), (0.0, 1.0), specification
    )


def test_the_nearest_of_all_queries_counts_whatever_came_later() -> None:
    points = torch.tensor([[[0.0, 1.0]], [[0.4, 0.6]], [[0.1, 0.9]], [[0.9, 0.0]]])
    result = run_minimum_norm(Scripted(points), nn.Identity(), problem(), 0)
    assert result.adversarial.tolist() == [[pytest.approx(0.4), pytest.approx(0.6)]]
    assert float(result.distance) == pytest.approx(0.6 * 2**0.5)
    assert float(result.margin) == pytest.approx(-0.2)
    assert int(result.prediction) == 1
    assert result.forwards.tolist() == [5]
    assert result.backwards.tolist() == [0]
    assert result.success.all()


@pytest.mark.parametrize("point", [[-0.1, 0.5], [0.5, torch.nan], [0.9, 0.1], [1.0, 0.0]])
def test_points_outside_the_domain_and_points_that_break_nothing_do_not_count(point: list[float]) -> None:
    result = run_minimum_norm(Scripted(torch.tensor([[point]])), nn.Identity(), problem(), 0)
    assert not result.success.any()
    assert result.distance.tolist() == [torch.inf]
    assert torch.equal(result.adversarial, problem().center)
    assert float(result.margin) == 1
    assert int(result.prediction) == 0


def test_centres_that_break_the_specification_are_not_shown_to_the_attack() -> None:
    task = replace(problem(3), center=torch.tensor([[1.0, 0.0], [0.2, 0.7], [0.3, 0.3]]))
    seen: list[tuple[int, ...]] = []

    @dataclass(frozen=True)
    class Watch(Scripted):
        def run(self, query: NearestQuery, seed: int) -> None:
            seen.append(query.problem.sample_id)
            super().run(query, seed)

    result = run_minimum_norm(Watch(torch.tensor([[[0.5, 0.6]]])), nn.Identity(), task, 0)
    assert seen == [(0,)]
    assert result.forwards.tolist() == [2, 1, 1]
    assert result.distance[1:].tolist() == [0, 0]
    assert torch.equal(result.adversarial[1:], task.center[1:])
    everyone_broken = run_minimum_norm(Watch(torch.zeros(0)), nn.Identity(), task[1:], 0)
    assert everyone_broken.distance.tolist() == [0, 0]
    assert len(seen) == 1


def test_a_query_within_the_rounding_of_the_boundary_does_not_count() -> None:
    eps = torch.finfo(torch.float32).eps
    near, clear = [0.5, 0.5 + 4 * eps], [0.5, 0.5 + 64 * eps]
    nothing = run_minimum_norm(Scripted(torch.tensor([[near]])), nn.Identity(), problem(), 0)
    found = run_minimum_norm(Scripted(torch.tensor([[near], [clear]])), nn.Identity(), problem(), 0)
    assert not nothing.success.any()
    assert found.adversarial.tolist() == torch.tensor([clear]).tolist()


def test_a_model_that_takes_its_answer_back_is_not_broken() -> None:
    class Fickle(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return x if self.calls < 3 else torch.tensor([[1.0, 0.0]]).expand(len(x), 2)

    result = run_minimum_norm(Scripted(torch.tensor([[[0.2, 0.8]]])), Fickle(), problem(), 0)
    assert result.distance.tolist() == [torch.inf]
    assert torch.equal(result.adversarial, problem().center)


def test_an_unknown_distance_is_refused() -> None:
    attack = Scripted(torch.zeros(0), frozenset({Distance.L1, Distance.L0_PIXELS}))
    with pytest.raises(InputError, match="minimises l0-pixels, l1, not l2"):
        run_minimum_norm(attack, nn.Identity(), problem(), 0)


SHIFTS: dict[Distance, Callable[[Tensor], Tensor]] = {
    Distance.LINF: lambda t: torch.stack([1 - t, t], 1),
    Distance.L2: lambda t: torch.stack([1 - t, t], 1),
    Distance.L1: lambda t: torch.stack([1 - t, t], 1),
    Distance.L0_VALUES: lambda t: torch.stack([torch.zeros_like(t), 0.1 + t], 1),
}


@pytest.mark.parametrize("distance", SHIFTS)
@pytest.mark.parametrize("share", [0.5, 0.999, 1.001, 2.0])
def test_at_a_radius_it_is_a_success_iff_the_distance_is_at_most_the_radius(distance: Distance, share: float) -> None:
    task = problem(4, distance)
    points = SHIFTS[distance](torch.tensor([0.55, 0.6, 0.7, 0.8]))[None]
    result = run_minimum_norm(Scripted(points), nn.Identity(), task, 0)
    assert result.success.all()
    epsilon = float(result.distance[1]) * share
    view = at_epsilon(task, result, epsilon)
    assert torch.equal(view.success, result.distance <= epsilon)
    for i in range(4):
        if view.success[i] and distance.norm:
            replayed = Counterexample.replay(
                nn.Identity(), task.within(epsilon)[i : i + 1], view.adversarial[i : i + 1]
            )
            assert replayed.margin == pytest.approx(float(view.margin[i]))
        if not view.success[i]:
            assert torch.equal(view.adversarial[i], task.center[i])
            assert view.margin[i] == result.clean_margin[i] > 0
            assert view.distance[i] == 0
    assert torch.equal(view.forwards, result.forwards)
