"""Bounds of inner neurons by ascent, against sampling and the bounds they start from."""

import time

import pytest
import torch
from torch import nn

from calipers.bounds import PAIRED, WorkBudget
from calipers.bounds.propagation.linear import Propagation
from calipers.core.problem import Specification
from calipers.core.sets import Box
from calipers.graph.from_torch import from_module
from calipers.verify.branching.subdomains import Root
from calipers.verify.branching.tighten import Tightening
from tests.nets import FAMILIES, random_graph

RADIUS = 0.2
# Bounds of values of about 1 in float64, after some hundred operations.
ROUNDING = 1e-9


def root_of(family: str, seed: int) -> Root:
    graph = random_graph(family, seed)
    x = torch.rand(1, *graph.input_shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    spec = Specification.classified_as(graph.evaluate(x).argmax(1), 3)
    box = Box(x - RADIUS, x + RADIUS)
    return Root.of(PAIRED.propagate(graph, box, WorkBudget()), box, Specification(spec.C.double(), spec.d.double()))


def deep_root() -> Root:
    torch.manual_seed(0)
    layers = [layer for _ in range(3) for layer in (nn.Linear(8, 8), nn.ReLU())]
    x = torch.rand(1, 8)
    net = nn.Sequential(*layers, nn.Linear(8, 3)).eval()
    graph, box = from_module(net, x.expand(2, -1)), Box(x - 1, x + 1)
    return Root.of(PAIRED.propagate(graph, box, WorkBudget()), box, Specification.classified_as(net(x).argmax(1), 3))


def tightened(root: Root, budget: WorkBudget | None = None) -> Propagation:
    return Tightening().run(PAIRED, root, WorkBudget() if budget is None else budget)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("family", FAMILIES)
def test_bounds_hold_and_are_never_looser(family: str, seed: int) -> None:
    root = root_of(family, seed)
    start, found = root.propagation, tightened(root)
    box = root.input_set.box()
    share = torch.rand(2000, *start.graph.input_shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    corners = torch.cat([share, share.round()])
    values = start.graph.values(box.lower + (box.upper - box.lower) * corners)
    for before, after, value in zip(start.bounds, found.bounds, values, strict=True):
        assert bool((after.lower >= before.lower - ROUNDING).all())
        assert bool((after.upper <= before.upper + ROUNDING).all())
        assert bool((value >= after.lower - ROUNDING).all())
        assert bool((value <= after.upper + ROUNDING).all())
    for view in root.views:
        if view.position in found.differences:
            laid = view.spread(values[view.source].flatten(1))[:, : view.pixels]
            apart = laid.unsqueeze(2) - laid.unsqueeze(1)
            bound = found.differences[view.position][:, : view.pixels, : view.pixels]
            real = (view.entry >= 0).unsqueeze(0) & (view.entry >= 0).unsqueeze(1)
            assert bool((apart <= bound + ROUNDING)[:, real].all())
            assert bool((bound <= start.differences[view.position][:, : view.pixels, : view.pixels]).all())


def test_deep_bounds_get_tighter() -> None:
    root = deep_root()
    last = root.views[-1].source
    before, after = root.propagation.bounds[last], tightened(root).bounds[last]
    assert float((after.upper - after.lower).sum()) < 0.97 * float((before.upper - before.lower).sum())


@pytest.mark.parametrize("family", ["mlp", "pool-first"])
def test_out_of_time_it_keeps_what_there_was(family: str) -> None:
    root = root_of(family, 0)
    found = tightened(root, WorkBudget(deadline=time.monotonic()))
    for before, after in zip(root.propagation.bounds, found.bounds, strict=True):
        torch.testing.assert_close(after.lower, before.lower)
        torch.testing.assert_close(after.upper, before.upper)


def test_memory_cuts_the_work_but_not_the_bounds() -> None:
    root = root_of("pooled", 1)
    for one, two in zip(tightened(root).bounds, tightened(root, WorkBudget(bytes=1)).bounds, strict=True):
        torch.testing.assert_close(one.lower, two.lower)
        torch.testing.assert_close(one.upper, two.upper)


def test_its_cost_is_counted_in_walks() -> None:
    assert Tightening().walks(root_of("smooth-mlp", 0)) == 0
    few, many = (Tightening(steps).walks(deep_root()) for steps in (2, 4))
    assert 0 < few < many <= 2 * few
