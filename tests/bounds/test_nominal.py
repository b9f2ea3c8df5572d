import pytest
import torch

from calipers.bounds import CAPM, CROWN, IBP, WorkBudget
from calipers.bounds.nominal import nominal_interval_margins, nominal_intervals, nominal_linear_margins
from calipers.bounds.propagation.interval import interval_bounds
from calipers.core.problem import Specification
from calipers.core.sets import Box
from tests.nets import BASIC, FAMILIES, points, random_graph, random_set


def asked(batch: int) -> Specification:
    found = Specification.classified_as(torch.arange(batch) % 3, 3)
    return Specification(found.C.double(), found.d.double())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(3))
def test_nominal_intervals_are_the_sound_ones_but_for_rounding(family: str, seed: int) -> None:
    graph = random_graph(family, seed)
    sets = random_set(graph.input_shape, seed)
    sound, found = interval_bounds(graph, sets), nominal_intervals(graph, sets)
    for one, two in zip(sound, found, strict=True):
        assert bool((one.lower <= two.lower).all() and (two.upper <= one.upper).all())
        torch.testing.assert_close(two.lower, one.lower, rtol=1e-3, atol=1e-3)
    margins = nominal_interval_margins(graph, found, asked(len(sets)))
    torch.testing.assert_close(
        margins, IBP.margins(graph, sets, asked(len(sets)), WorkBudget()).lower, rtol=0, atol=0.02
    )


@pytest.mark.parametrize("method", [CAPM, CROWN], ids=lambda method: method.name)
@pytest.mark.parametrize("family", FAMILIES)
def test_walks_over_intervals_lie_below_every_point(family: str, method) -> None:
    for seed in range(4):
        graph = random_graph(family, seed)
        sets = random_set(graph.input_shape, seed)
        rows = asked(len(sets))
        found = nominal_linear_margins(method, graph, nominal_intervals(graph, sets), sets, rows)
        for x in points(sets, 20, seed):
            assert bool((found <= rows.margins(graph.evaluate(x)) + 1e-6).all())


@pytest.mark.parametrize("family", BASIC)
def test_walks_over_one_point_are_exact(family: str) -> None:
    graph = random_graph(family, 1)
    sets = random_set(graph.input_shape, 0)
    point = Box(sets.center, sets.center)
    rows = asked(len(sets))
    exact = rows.margins(graph.evaluate(sets.center))
    intervals = nominal_intervals(graph, point)
    torch.testing.assert_close(nominal_interval_margins(graph, intervals, rows), exact, rtol=1e-6, atol=1e-6)
    found = nominal_linear_margins(CROWN, graph, intervals, point, rows)
    torch.testing.assert_close(found, exact, rtol=1e-6, atol=1e-6)
