"""Rows over inner nodes with planes of their own: evidence that proves more, and that cannot prove what is not true."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from calipers.bounds import PAIRED, WorkBudget
from calipers.bounds.propagation.linear import Propagation
from calipers.check import Certificate, Part, RejectedError, Tightened, check
from calipers.check.enclosure import Enclosure
from calipers.check.network import Maximum
from calipers.check.region import Region
from calipers.core.problem import Problem, Specification
from calipers.core.sets import Box
from calipers.graph.from_torch import from_module
from calipers.graph.graph import Graph
from calipers.graph.rewrite import fuse_windows
from calipers.verify.branching.beta_crown import Search
from calipers.verify.branching.dual import ascend
from calipers.verify.branching.journal import Journal
from calipers.verify.branching.subdomains import Root, Subdomains
from calipers.verify.branching.tighten import Tightening
from calipers.verify.certify import claim_of, network_of
from tests.nets import points

NETS = {
    "dense": lambda: nn.Sequential(
        *(layer for _ in range(3) for layer in (nn.Linear(8, 8), nn.ReLU())), nn.Linear(8, 3)
    ),
    "pooled": lambda: nn.Sequential(
        *(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2, 1), nn.Conv2d(3, 3, 2), nn.ReLU(), nn.MaxPool2d(2, 1)),
        *(nn.Flatten(), nn.Linear(12, 3)),
    ),
}
RADIUS = {"dense": 1.0, "pooled": 0.3}


def around(kind: str) -> tuple[Graph, Box]:
    torch.manual_seed(1)
    net = NETS[kind]().eval()
    x = torch.rand(1, *((8,) if kind == "dense" else (1, 7, 7)))
    graph, x = from_module(net, x.expand(2, *x.shape[1:])).to(torch.float64), x.double()
    return graph, Box(x - RADIUS[kind], x + RADIUS[kind])


def asked(box: Box, shift: float) -> Problem:
    row = torch.tensor([[[1.0, -1.0, 0.0]]], dtype=torch.float64)
    return Problem("", (0,), box, Specification(row, torch.full((1, 1), shift, dtype=torch.float64)))


def root_of(propagation: Propagation, problem: Problem) -> Root:
    return Root.of(propagation, problem.input_set, problem.specification)


def proof(kind: str, allowance: float = 1e-4) -> tuple[Graph, Certificate]:
    """What the tightened bounds prove without a split, by no more than the allowance."""
    graph, box = around(kind)
    journal = Journal()
    start = root_of(PAIRED.propagate(graph, box, WorkBudget()), asked(box, 0.0))
    tighter = Tightening().run(PAIRED, start, WorkBudget(), journal.tightened)
    one = torch.zeros(1).long()
    subdomains = Subdomains.of(root_of(tighter, asked(box, 0.0)), one, one, [()])
    ascent = ascend(subdomains, subdomains.start(), Search().root_steps, Search().rate, WorkBudget())
    problem = asked(box, allowance - float(ascent.walk.lower))
    assert Search().run(root_of(tighter, problem), [0], WorkBudget(), journal).proven
    part = journal.whole(tighter, paired=True)
    assert [leaf.splits for leaf in part.leaves] == [()]
    return graph, Certificate(claim_of(network_of(graph), problem, {}), (part,))


@pytest.fixture(scope="module", params=NETS)
def proven(request: pytest.FixtureRequest) -> tuple[Graph, Certificate]:
    return proof(request.param)


def changed(certificate: Certificate, **fields: Any) -> Certificate:
    part = certificate.parts[0]
    return replace(certificate, parts=(replace(part, tightened=tuple(replace(t, **fields) for t in part.tightened)),))


def test_it_proves_what_shared_planes_do_not(proven: tuple[Graph, Certificate], tmp_path: Path) -> None:
    graph, certificate = proven
    network = network_of(graph)
    margin = check(Certificate.load(certificate.save(tmp_path / "proof.npz")), network)
    claim = certificate.claim
    box = Box(torch.from_numpy(claim.center[None]), torch.from_numpy(claim.scale[None]))
    values = graph.evaluate(points(box, 2000, 0)[:, 0]).numpy() @ claim.C.T + claim.d
    assert 0 < margin <= values.min()
    lacking = replace(certificate, parts=(replace(certificate.parts[0], tightened=()),))
    with pytest.raises(RejectedError, match="proven down to"):
        check(lacking, network)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", NETS)
def test_any_weights_give_true_bounds(kind: str, seed: int) -> None:
    graph, certificate = proof(kind)
    random = np.random.default_rng(seed)
    part = certificate.parts[0]
    tightened = tuple(
        replace(t, weight={p: random.uniform(-0.5, 1.5, len(w)) for p, w in t.weight.items()}) for t in part.tightened
    )
    enclosure = enclosed(graph, certificate, replace(part, tightened=tightened))
    _, box = around(kind)
    values = [value.numpy() for value in fuse_windows(graph).values(points(box, 2000, seed)[:, 0])]
    for interval, value in zip(enclosure.intervals, values, strict=True):
        assert (value >= interval.lower - 1e-12).all()
        assert (value <= interval.upper + 1e-12).all()
    for position, difference in enclosure.differences.items():
        maximum, source = enclosure.network.nodes[position].layer, enclosure.network.nodes[position].inputs[0]
        assert isinstance(maximum, Maximum)
        flat = values[source].reshape(len(values[source]), -1)
        apart = flat[:, maximum.entry[:, None]] - flat[:, maximum.entry[None]]
        assert (apart <= difference + 1e-12).all()


def enclosed(graph: Graph, certificate: Certificate, part: Part) -> Enclosure:
    claim = certificate.claim
    region = Region.box(claim.center, claim.scale)
    return Enclosure.of(network_of(graph), region, part.slopes, paired=part.paired, tightened=part.tightened)


def test_rows_of_nothing_say_nothing(proven: tuple[Graph, Certificate]) -> None:
    """A row without entries is 0, which must bound no entry."""
    graph, certificate = proven
    part = certificate.parts[0]
    nothing = np.full(3, -1)
    empty = tuple(replace(t, plus=nothing, minus=nothing, row={}, place={}, weight={}) for t in part.tightened)
    plain = enclosed(graph, certificate, replace(part, tightened=()))
    for one, two in zip(
        plain.intervals, enclosed(graph, certificate, replace(part, tightened=empty)).intervals, strict=True
    ):
        np.testing.assert_array_equal(one.lower, two.lower)
        np.testing.assert_array_equal(one.upper, two.upper)


def test_rows_of_other_entries_are_bounded_as_such(proven: tuple[Graph, Certificate]) -> None:
    """Evidence for one neuron put under another's name proves no more than is true of that one."""
    graph, certificate = proven
    with pytest.raises(RejectedError):
        check(replace(certificate, parts=(shuffled(certificate.parts[0]),)), network_of(graph))


def shuffled(part: Part) -> Part:
    def turned(t: Tightened) -> Tightened:
        return replace(t, plus=np.roll(t.plus, 1), minus=np.roll(t.minus, 1))

    return replace(part, tightened=tuple(turned(t) for t in part.tightened))


@pytest.mark.parametrize(
    "fields",
    [
        {"position": 10_000},
        {"plus": np.array([100_000]), "minus": np.array([-1]), "row": {}, "place": {}, "weight": {}},
        {"row": {999: np.zeros(1, int)}, "place": {999: np.zeros(1, int)}, "weight": {999: np.zeros(1)}},
    ],
)
def test_evidence_that_does_not_fit_is_rejected(proven: tuple[Graph, Certificate], fields: dict[str, object]) -> None:
    graph, certificate = proven
    with pytest.raises(RejectedError):
        check(changed(certificate, **fields), network_of(graph))


def test_weights_that_are_no_numbers_are_rejected(proven: tuple[Graph, Certificate]) -> None:
    graph, certificate = proven
    part = certificate.parts[0]
    tightened = tuple(
        replace(t, weight={p: np.full_like(w, np.nan) for p, w in t.weight.items()}) for t in part.tightened
    )
    with pytest.raises(RejectedError):
        check(replace(certificate, parts=(replace(part, tightened=tightened),)), network_of(graph))
