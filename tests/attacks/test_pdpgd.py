"""PDGD and PDPGD against closed forms: the distance to the boundary of a linear classifier is known."""

from dataclasses import replace

import pytest
import torch

from calipers.attacks import MINIMUM_NORM_ATTACKS, PDGD, PDPGD, Nearest, run_minimum_norm
from calipers.attacks.primal_dual.primal import GradientPlayer, InnerStepsPlayer, MetricPlayer
from calipers.attacks.primal_dual.schedule import FromBest, FromCentre, FromRandom, Phase
from calipers.attacks.proximal import ConvexCombination, L2Prox, TotalVariationProx
from calipers.core.distances import Distance
from calipers.core.problem import MinimumNormProblem
from tests.attacks.linear import SHAPES, closer, exact, linear

NORMS = [Distance.LINF, Distance.L2, Distance.L1]
COUNTS = [Distance.L0_PIXELS, Distance.L0_VALUES]


@pytest.mark.parametrize(("classes", "shape"), SHAPES)
@pytest.mark.parametrize("distance", NORMS)
def test_within_a_budget_it_finds_the_distance_to_a_linear_boundary(distance, classes, shape) -> None:
    net, problem = linear(classes, shape, distance, None)
    ratio = run_minimum_norm(PDPGD.within(distance, 300), net, problem, 0).distance / exact(net, problem)
    assert (ratio >= 1 - 1e-4).all()
    assert float(ratio.mean()) <= (1.04 if distance is Distance.L1 else 1.002)


@pytest.mark.parametrize("near", [0.3, 0.03, 0.003])
@pytest.mark.parametrize("distance", [Distance.LINF, Distance.L2])
def test_fifty_passes_find_a_boundary_however_near_it_is(distance: Distance, near: float) -> None:
    net, problem = linear(10, (1, 8, 8), distance, (0.0, 1.0))
    problem = closer(net, problem, near)
    ratio = run_minimum_norm(Nearest(50), net, problem, 0).distance / exact(net, problem)
    assert (ratio >= 1 - 1e-4).all()
    # With rates of the size of the domain it is 1.02 to 5.
    assert float(ratio.mean()) <= 1.2


@pytest.mark.parametrize(("classes", "shape"), SHAPES)
@pytest.mark.parametrize("distance", COUNTS)
def test_within_a_budget_it_changes_no_more_than_needed(distance, classes, shape) -> None:
    net, problem = linear(classes, shape, distance, (0.0, 1.0))
    assert torch.equal(run_minimum_norm(PDPGD.within(distance, 300), net, problem, 0).distance, exact(net, problem))


@pytest.mark.parametrize(("classes", "shape"), SHAPES)
@pytest.mark.parametrize(
    "attack", [PDGD.within(300), PDGD.author(steps=200), PDGD.text(steps=200)], ids=["within", "author", "text"]
)
def test_gradient_descent_finds_it_in_l2(attack: PDGD, classes: int, shape: tuple[int, ...]) -> None:
    net, problem = linear(classes, shape, Distance.L2, None)
    ratio = run_minimum_norm(attack, net, problem, 0).distance / exact(net, problem)
    assert (ratio >= 1 - 1e-4).all()
    assert float(ratio.mean()) <= 1.03


@pytest.mark.parametrize("distance", [*NORMS, *COUNTS])
@pytest.mark.parametrize("variant", ["author", "text"])
def test_the_thesiss_variants_find_it_too(variant: str, distance: Distance) -> None:
    net, problem = linear(10, (1, 8, 8), distance, (0.0, 1.0) if distance in COUNTS else None)
    attack = getattr(PDPGD, variant)(distance, steps=120)
    ratio = run_minimum_norm(attack, net, problem, 0).distance / exact(net, problem)
    assert (ratio >= 1 - 1e-4).all()
    assert float(ratio.mean()) <= (1.5 if distance in COUNTS else 1.1)


def test_scaled_distances_are_scaled_answers() -> None:
    """In units of half a pixel value everything is twice as far."""
    net, problem = linear(10, (1, 8, 8), Distance.L2, (0.0, 1.0))
    half = MinimumNormProblem(
        "linear", problem.sample_id, problem.center, Distance.L2, torch.tensor(0.35), (0.0, 1.0), problem.specification
    )
    attack = PDPGD.within(Distance.L2, 100)
    one, two = (run_minimum_norm(attack, net, task, 0).distance for task in (problem, half))
    assert torch.allclose(2 * one, two, rtol=0.02)


def test_the_settings_are_those_of_the_thesis() -> None:
    author, text = PDPGD.author(Distance.L0_PIXELS, starts=3).settings, PDPGD.text(Distance.L0_PIXELS).settings
    assert isinstance(author.player, InnerStepsPlayer)
    assert isinstance(text.player, GradientPlayer)
    assert [type(run.kind.start) for run in author.runs if isinstance(run, Phase)] == [
        FromCentre,
        FromRandom,
        FromRandom,
        FromBest,
    ]
    main, fine = author.runs[0], author.runs[-1]
    assert isinstance(main, Phase)
    assert isinstance(fine, Phase)
    rates = [run.kind.primal.at(k, run.steps) for run in (main, fine) for k in (0, 250, 499)]
    assert rates == pytest.approx([1, 0.0995, 0.01, 0.01, 0.01, 0.01], rel=1e-3)
    assert [main.kind.dual.at(k, 500) for k in (0, 499)] == pytest.approx([0.1, 0.01])
    (run,) = text.runs
    assert isinstance(run, Phase)
    assert [run.kind.primal.at(k, 500) for k in (0, 499)] == pytest.approx([0.1, 0.001])
    assert run.kind.primal.at(250, 501) == pytest.approx(0.0505)
    assert run.kind.dual.at(250, 500) == 0.1


def test_budgets_buy_starts() -> None:
    assert len(PDPGD.within(Distance.LINF, 50).settings.runs) == 1
    assert (
        len(PDPGD.within(Distance.LINF, 1000).settings.runs) > len(PDPGD.within(Distance.LINF, 300).settings.runs) > 1
    )
    assert isinstance(PDPGD.within(Distance.L1, 50).settings.player, MetricPlayer)
    assert set(MINIMUM_NORM_ATTACKS) >= {"pdgd", *(f"pdpgd-{distance}" for distance in Distance)}


def test_any_operator_can_shape_the_perturbation() -> None:
    """Total variation in the game makes the perturbation flatter; what counts is still the distance."""
    net, problem = linear(10, (1, 8, 8), Distance.L2, (0.0, 1.0))
    plain = PDPGD.author(Distance.L2, rate=0.1, steps=40)
    shaped = ConvexCombination((L2Prox(), TotalVariationProx()), (0.5, 0.5), tolerance=1e-2, iterations=10)
    attack = PDPGD(Distance.L2, replace(plain.settings, player=InnerStepsPlayer(shaped, rounds=1)))
    flat, usual = (run_minimum_norm(each, net, problem, 0) for each in (attack, plain))
    assert flat.success.all()
    variation = [TotalVariationProx().value(r.adversarial - problem.center) / r.distance for r in (flat, usual)]
    assert float(variation[0].mean()) < 0.9 * float(variation[1].mean())
