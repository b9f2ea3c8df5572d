"""The parts of the primal-dual attacks, each against what it should be."""

from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from calipers.attacks.nearest_query import NearestQuery
from calipers.attacks.primal_dual.dual import Dual
from calipers.attacks.primal_dual.game import GameSettings, Surrogate, evenly, pull
from calipers.attacks.primal_dual.primal import AdamPlayer, GradientPlayer, InnerStepsPlayer, MetricPlayer, Turn
from calipers.attacks.primal_dual.schedule import (
    Balanced,
    Decay,
    Extent,
    FromBest,
    FromCentre,
    FromRandom,
    Kind,
    Phase,
    Restart,
    StepRate,
    lengths,
)
from calipers.attacks.primal_dual.session import FARTHEST, Session, Standing, noise, play
from calipers.attacks.proximal import L1Prox, L2Prox, LinfProx
from calipers.core.adam import Moments
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.core.problem import MinimumNormProblem, Specification
from tests.attacks.linear import exact, linear
from tests.contracts.test_minimum_norm_attacks import problem as random_problem
from tests.nets import nearest_query


def problem(distance: Distance = Distance.L2, domain: tuple[float, float] | None = None) -> MinimumNormProblem:
    center = torch.full((3, 2, 2, 2), 0.5, dtype=torch.float64)
    specification = Specification.classified_as(torch.zeros(3, dtype=torch.long), 2)
    return MinimumNormProblem("none", (0, 1, 2), center, distance, torch.tensor(1.0), domain, specification)


class Scaled(torch.nn.Module):
    def __init__(self, net: torch.nn.Module, factor: float) -> None:
        super().__init__()
        self.net, self.factor = net, factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.net(x)


def noises(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, 2, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def each(value: float) -> Tensor:
    return torch.full((3,), value, dtype=torch.float64)


def dual(ratio: float) -> Dual:
    return Dual.start(each(ratio))


def test_adam_is_torchs_adam() -> None:
    parameter = torch.zeros(3, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([parameter], lr=0.1)
    r, moments = parameter.detach().clone(), Moments.start(0.9, parameter.detach())
    for gradient in noises(6):
        parameter.grad = gradient
        optimiser.step()
        moments = moments.add(gradient)
        r = r - 0.1 * moments.direction / moments.metric
    assert torch.allclose(r, parameter.detach(), atol=1e-12)


def test_gradient_descent_minimises_the_weighted_sum() -> None:
    """One step of PDGD is a step of Adam on the gradient that autograd finds."""
    r, slope = noises(2)
    point = r.clone().requires_grad_(True)
    weights = dual(0.5).average
    objective = weights[:, 0] * point.flatten(1).norm(dim=1) + weights[:, 1] * (slope * point).flatten(1).sum(1)
    objective.sum().backward()
    optimiser = torch.optim.Adam([point], lr=0.2)
    optimiser.step()
    moved, _ = AdamPlayer().move(Turn(problem(), r, slope, dual(0.5), each(0.2), Moments.start(0.9, r)))
    assert torch.allclose(moved, point.detach(), atol=1e-9)
    at_zero, _ = AdamPlayer().move(
        Turn(problem(), torch.zeros_like(r), slope, dual(0.5), each(0.2), Moments.start(0.9, r))
    )
    assert torch.isfinite(at_zero).all()


@pytest.mark.parametrize("operator", [LinfProx(), L2Prox(), L1Prox()])
def test_many_inner_steps_reach_the_operator_in_adams_metric(operator) -> None:
    inner, closed = InnerStepsPlayer(operator, rounds=3000, tolerance=1e-13), MetricPlayer(operator, 0.9)
    r, moments = torch.zeros(3, 2, 2, 2, dtype=torch.float64), Moments.start(0.9, torch.zeros(3, 2, 2, 2).double())
    for gradient in noises(4):
        one, _ = inner.move(Turn(problem(), r, gradient, dual(0.3), each(0.2), moments))
        r, moments = closed.move(Turn(problem(), r, gradient, dual(0.3), each(0.2), moments))
        assert torch.allclose(one, r, atol=1e-6)
    assert (r != 0).any()


def test_the_plain_step_is_equation_5_10() -> None:
    r, slope = noises(2)
    moved, _ = GradientPlayer(L1Prox()).move(Turn(problem(), r, slope, dual(0.5), each(0.2), Moments.start(0.0, r)))
    shifted = r - 0.2 * slope
    assert torch.allclose(moved, shifted.sign() * (shifted.abs() - 0.1).clamp_min(0))


@pytest.mark.parametrize("player", [AdamPlayer(), InnerStepsPlayer(LinfProx()), MetricPlayer(L1Prox(), 0.5)])
def test_players_stay_in_the_domain_and_scale_with_it(player) -> None:
    r, slope = noises(2)
    small, large = problem(domain=(0.0, 1.0)), problem(domain=(-127.0, 128.0))
    start = Moments.start(player.momentum, r)
    moved, _ = player.move(Turn(small, small.clip(r), slope, dual(1.0), each(3.0), start))
    assert small.admits(small.perturbed(moved)).all()
    # Inputs 255 times as large have gradients 255 times as small; the same rates take the same steps.
    wide, _ = player.move(Turn(large, 255 * small.clip(r), slope / 255, dual(1 / 255), each(3.0), start))
    assert torch.allclose(wide, 255 * moved, rtol=1e-4)


@given(st.floats(1e-3, 1e3), st.floats(0.01, 1.0), st.integers(1, 30))
def test_weights_move_towards_misclassification_and_back(ratio: float, rate: float, steps: int) -> None:
    margin = torch.tensor([1.0, -2.0, 0.0], dtype=torch.float64)
    state = dual(ratio)
    for _ in range(steps):
        state = state.step(margin, rate, memory=0.0)
    down, up, same = state.ratio.tolist()
    assert down < ratio < up
    assert same == pytest.approx(ratio, rel=1e-6)
    free = steps * rate + abs(torch.tensor(ratio).log()) < 13
    if free:
        assert down * up == pytest.approx(ratio**2, rel=1e-6)
        assert up == pytest.approx(ratio * torch.tensor(rate * steps, dtype=torch.float64).exp().item(), rel=1e-6)
    assert torch.allclose(state.average.sum(1), torch.ones(3).double(), atol=2e-6)


def test_weights_have_a_floor_and_a_memory() -> None:
    state = dual(1.0)
    for _ in range(100):
        state = state.step(torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64), 1.0, memory=0.5)
    assert state.average.min() == pytest.approx(1e-6, rel=1e-3)
    once = dual(1.0).step(torch.ones(3, dtype=torch.float64), 1.0, memory=0.9)
    own = torch.sigmoid(torch.tensor(-1.0)).item()
    assert once.average[0, 0] == pytest.approx(0.9 * 0.5 + 0.1 * own)


def test_surrogates() -> None:
    rows = torch.tensor([[3.0, 0.0], [5.0, 2.0], [-1.0, 4.0]])
    assert Surrogate.HINGE(rows).tolist() == [0, 2, 0]
    soft = Surrogate.SOFTPLUS(rows)
    assert soft.tolist() == pytest.approx([1.0, 3.0685, 0.4519], rel=1e-3)
    assert (soft >= (rows.amin(1) > 0).float()).all()


def test_the_pull_is_the_dual_norm() -> None:
    slope = noises(1)[0]
    flat = slope.flatten(1).abs()
    assert torch.allclose(pull(problem(Distance.LINF), slope), flat.sum(1))
    assert torch.allclose(pull(problem(Distance.L1), slope), flat.amax(1))
    assert torch.allclose(pull(problem(Distance.L0_VALUES, (0.0, 2.0)), slope), 2 * flat.amax(1))


@given(st.integers(4, 5000), st.integers(1, 200))
def test_runs_fill_the_budget(budget: int, steps: int) -> None:
    runs = lengths(budget, steps)
    spent = 1 + sum(2 * length + 1 for length in runs)
    assert budget - 2 <= spent <= budget
    assert min(runs) >= 1
    assert max(runs) - min(runs) <= 1


def test_what_cannot_run_is_refused() -> None:
    with pytest.raises(InputError, match="3 propagations; accepted: 4 or more"):
        lengths(3, 10)
    rate = StepRate(1.0, 0.1, Decay.LINEAR)
    for runs in ((), (Phase(Kind(FromBest(), rate, rate), 5),)):
        with pytest.raises(InputError, match="starts from nothing"):
            GameSettings("odd", AdamPlayer(), Surrogate.HINGE, runs, 0.9)
    centre = Phase(Kind(FromCentre(Balanced(1.0)), rate, rate), 5)
    with pytest.raises(InputError, match="run 1 repeats nothing; accepted: after a run from a draw"):
        GameSettings("odd", AdamPlayer(), Surrogate.HINGE, (centre, Restart(5)), 0.9)


def test_every_sample_goes_on_with_the_kind_that_brought_it_nearest() -> None:
    """A run that is played again is the leader's, of the length that is asked; where there is none they take turns."""
    rate = StepRate(0.1, 0.01, Decay.LINEAR)
    centre, near, far = (
        Phase(Kind(start, rate, rate), 2)
        for start in (FromCentre(Balanced(1.0)), FromRandom(Balanced(1.0), 0.1), FromRandom(Balanced(1.0), 0.9))
    )
    settings = GameSettings("mix", AdamPlayer(), Surrogate.SOFTPLUS, (centre, near, far, Restart(7), Restart(7)), 0.5)
    task = problem(domain=(0.0, 1.0))
    played: list[tuple[int, float, list[int]]] = []

    class Listening(Session):
        def _played(self, number, run, active, standing) -> Standing:
            played.append((run.steps, getattr(run.kind.start, "reach", 0.0), active.tolist()))
            return standing

    session = Listening(NearestQuery(torch.nn.Flatten(), task, torch.ones(3)), settings, 0)
    standing = replace(Standing.start(session.query), leader=torch.tensor([1, 2, -1]))
    session.after(4, session.after(3, standing))
    assert played == [(7, 0.1, [0]), (7, 0.9, [1, 2]), (7, 0.1, [0, 2]), (7, 0.9, [1])]


@pytest.mark.parametrize("distance", [Distance.LINF, Distance.L2, Distance.L1])
def test_rivals_are_the_nearest_boundaries_of_a_linear_network(distance: Distance) -> None:
    """Runs aim at the row they are told to; what orders the rows is taken off the first of them."""
    net, task = linear(5, (2, 3, 3), distance, None)
    rate = StepRate(0.1, 0.01, Decay.LINEAR)
    drawn = Kind(FromRandom(Balanced(1.0), 0.1), rate, rate)
    runs = (Phase(drawn, 2), Phase(drawn, 17, 1), Restart(17, 3), Restart(17, 5), Restart(17))
    played: list[tuple[int, list[int] | None]] = []

    class Listening(Session):
        def _played(self, number, run, active, standing) -> Standing:
            rival = standing.rival(run, active)
            played.append((run.steps, None if rival is None else rival.tolist()))
            return standing

    session = Listening(
        nearest_query(net, task), GameSettings("rivals", AdamPlayer(), Surrogate.SOFTPLUS, runs, 0.5), 0
    )
    standing = Standing.start(session.query)
    for number in range(1, len(runs)):
        standing = session.after(number, standing)
    C, d = task.specification.C, task.specification.d
    alone = [replace(task, specification=Specification(C[:, [j]], d[:, [j]])) for j in range(4)]
    order = torch.stack([exact(net, one) for one in alone], 1).argsort(1)
    assert played == [(14, order[:, 1].tolist()), (17, order[:, 3].tolist()), (17, order[:, 1].tolist()), (17, None)]
    assert (session.query.forwards + session.query.backwards).tolist() == [5] * len(task)


def test_rivals_are_not_met_where_that_takes_more_than_a_fifth_of_a_run() -> None:
    net, task = linear(5, (2, 3, 3), Distance.L2, None)
    rate = StepRate(0.1, 0.01, Decay.LINEAR)
    runs = (Phase(Kind(FromRandom(Balanced(1.0), 0.1), rate, rate), 2), Restart(14, 1))
    session = Session(nearest_query(net, task), GameSettings("rivals", AdamPlayer(), Surrogate.SOFTPLUS, runs, 0.5), 0)
    standing = session.after(1, session.after(0, Standing.start(session.query)))
    assert standing.rivals is None
    assert (session.query.forwards + session.query.backwards).tolist() == [2 * 16 + 2] * len(task)


@dataclass(frozen=True)
class Recording:
    """A player that stays where it is, and writes down where that was and at what rate."""

    turns: list[tuple[Tensor, Tensor]]
    momentum: float = 0.0

    def move(self, turn: Turn) -> tuple[Tensor, Moments]:
        self.turns.append((turn.r, turn.rate))
        return turn.r, turn.moments


@pytest.mark.parametrize("distance", [Distance.LINF, Distance.L2, Distance.L1])
def test_rates_are_multiples_of_the_expected_change(distance: Distance) -> None:
    """On a linear network what is expected at the centre is exact; later it is the nearest so far, and draws too."""
    net, task = linear(5, (2, 3, 3), distance, None)
    rate = StepRate(2.0, 0.5, Decay.LINEAR)
    turns: list[tuple[Tensor, Tensor]] = []
    start = FromCentre(Balanced(1.0)), FromRandom(Balanced(1.0), 0.7)
    runs = tuple(Phase(Kind(one, rate, rate, Extent.EXPECTED), 2) for one in start)
    query = nearest_query(net, task)
    session = Session(query, GameSettings("expected", Recording(turns), Surrogate.SOFTPLUS, runs, 0.5), 0)
    distances = exact(net, task)
    standing = session.after(0, Standing.start(query))
    first = turns[0][1] / 2
    # The smallest margin is not always that of the nearest boundary.
    assert (first >= evenly(task, distances) * (1 - 1e-5)).all()
    assert torch.isclose(first, evenly(task, distances), rtol=1e-5).float().mean() >= 0.5
    assert torch.allclose(turns[1][1], first / 2)
    query.best_distance[:] = 0.25 * query.best_distance.new_tensor(range(1, len(task) + 1))
    expected = evenly(task, query.best_distance)
    session.after(1, standing)
    r, rates = turns[2]
    assert torch.allclose(rates, 2 * expected.clamp_max(0.5))
    reached = r.flatten(1).abs().amax(1)
    assert (reached <= (0.7 * expected).clamp_max(FARTHEST)).all()
    assert (reached >= 0.7 * (0.7 * expected).clamp_max(FARTHEST)).all()


def test_what_is_spread_evenly_has_the_distance() -> None:
    for distance in (Distance.LINF, Distance.L2, Distance.L1):
        task = problem(distance, (0.0, 2.0))
        change = evenly(task, each(0.6)) * 2.0
        assert torch.allclose(distance(change[:, None, None, None].expand(3, 2, 2, 2)), each(0.6))


@pytest.mark.parametrize("ceiling", [None, 2.0])
def test_under_a_ceiling_the_temperature_of_a_network_does_not_matter(ceiling: float | None) -> None:
    """Powers of two scale every rounded number exactly."""
    net, task = random_problem(Distance.L2, ids=(0, 2, 3))
    rate = StepRate(0.1, 0.01, Decay.LINEAR)
    runs = (Phase(Kind(FromCentre(Balanced(1.0)), rate, rate), 30),)
    settings = GameSettings("cool", AdamPlayer(), Surrogate.SOFTPLUS, runs, 0.5, ceiling=ceiling)
    found = []
    for factor in (2.0**6, 2.0**9):
        query = nearest_query(Scaled(net, factor), task)
        assert float(query.clean_margin.min()) > 2.0
        play(query, settings, 0)
        found.append(query.best_distance)
    assert found[0].isfinite().all()
    assert torch.equal(*found) is (ceiling is not None)


@pytest.mark.parametrize("surrogate", Surrogate)
def test_steepness_is_the_slope_as_a_share_of_the_largest(surrogate: Surrogate) -> None:
    margin = torch.tensor([-30.0, -2.0, 1.5, 40.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(surrogate(margin[:, None]).sum(), margin)
    assert torch.allclose(surrogate.steepness(margin.detach()), slope / slope[-1])
    assert surrogate.slope == pytest.approx(float(slope[-1]))


def test_random_starts_depend_on_sample_run_and_seed_alone() -> None:
    task = problem()
    assert torch.equal(noise(task, 5, 1)[1:], noise(task[1:], 5, 1))
    assert not torch.equal(noise(task, 5, 1), noise(task, 5, 2))
    assert not torch.equal(noise(task, 5, 1), noise(task, 6, 1))
    assert noise(task, 5, 1).abs().max() <= 1


def test_a_cosine_falls_slowly_at_both_ends() -> None:
    rate = StepRate(1.0, 0.0, Decay.COSINE)
    assert [rate.at(k, 5) for k in range(5)] == pytest.approx([1, 0.5 + 0.125**0.5, 0.5, 0.5 - 0.125**0.5, 0])
