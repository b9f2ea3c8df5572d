"""The account of a bound's looseness, and the splits that it offers."""

import itertools

import pytest
import torch

from calipers.bounds import PAIRED, WorkBudget
from calipers.core.problem import Specification
from calipers.core.sets import Box
from calipers.verify.branching.choices import Account
from calipers.verify.branching.dual import ascend
from calipers.verify.branching.subdomains import Root, Subdomains
from tests.nets import BASIC, random_graph


def subdomains_of(family: str, radius: float) -> Subdomains:
    graph = random_graph(family, 4)
    x = torch.rand(1, *graph.input_shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    label = graph.evaluate(x).argmax(1)
    spec = Specification.classified_as(label, 3)
    box = Box(x - radius, x + radius)
    root = Root.of(PAIRED.propagate(graph, box, WorkBudget()), box, Specification(spec.C.double(), spec.d.double()))
    return Subdomains.of(root, torch.zeros(2).long(), torch.arange(2), [(), ()])


@pytest.mark.parametrize("family", BASIC)
def test_without_splits_the_gaps_add_up_to_what_the_bound_loses(family: str) -> None:
    subdomains = subdomains_of(family, 0.2)
    ascent = ascend(subdomains, subdomains.start(), 5, 0.2, WorkBudget())
    account = Account.of(subdomains, ascent.variables, ascent.walk)
    lost = account.gap.clamp_min(0).sum(1)
    rounding = account.value - lost - ascent.walk.lower
    assert bool((rounding > 0).all() and (rounding < 1e-3).all())
    margins = subdomains.root.specification.margins(subdomains.root.propagation.graph.evaluate(ascent.walk.lowest))
    torch.testing.assert_close(account.value, margins.diagonal())


@pytest.mark.parametrize("family", BASIC)
def test_choices_split_what_is_open_between_its_largest_candidates(family: str) -> None:
    subdomains = subdomains_of(family, 0.2)
    start = subdomains.start()
    account = Account.of(subdomains, start, subdomains.walk(start))
    most = account.gap.shape[1]
    places = account.gap.topk(most).indices
    offered = account.choices(subdomains, torch.arange(2), places)
    views = {view.position: view for view in subdomains.root.views}
    outputs = [view.outputs for view in views.values()]
    offsets = dict(zip(views, itertools.accumulate(outputs, initial=0), strict=False))
    for i, choices in enumerate(offered):
        assert len(choices) == int((account.gap[i] > -torch.inf).sum()) > 0
        assert [choice.gap for choice in choices] == sorted((choice.gap for choice in choices), reverse=True)
        for split, place, gap in choices:
            ceiling = subdomains.ceilings[split.position]
            alive = ceiling.alive[i, :, split.output].nonzero()[:, 0].tolist()
            upper = ceiling.upper[i, :, split.output]
            assert place == offsets[split.position] + split.output
            assert gap == float(account.gap[i, place])
            assert {split.kept, split.dropped} <= set(alive)
            assert split.kept != split.dropped
            assert sorted(upper[alive].tolist())[-2:] == sorted(upper[[split.kept, split.dropped]].tolist())
