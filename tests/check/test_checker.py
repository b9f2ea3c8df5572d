"""Certificates are accepted as they are written, and rejected after any change that matters."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from calipers.bounds import FUSED, PAIRED, WorkBudget
from calipers.check import Certificate, DamagedCertificateError, Halving, Leaf, RejectedError, Slopes, check
from calipers.check.checker import _covers, _same_cut
from calipers.core.norms import Norm
from calipers.core.problem import Problem, Specification
from calipers.core.sets import Box, LpBall
from calipers.graph.graph import Graph
from calipers.verify import Limits
from calipers.verify.certify import Certifier, network_of
from tests.limits import NEVER
from tests.milp import exact_minimum
from tests.nets import BASIC, FAMILIES, points, random_graph

CERTIFIER = Certifier(Limits(WorkBudget(), NEVER))


ROW = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)


def around(family: str, radius: float, free: int | None = None) -> tuple[Graph, Box]:
    graph = random_graph(family, 2)
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(1, *graph.input_shape, generator=generator, dtype=torch.float64)
    width = torch.full_like(x, radius)
    if free is not None:
        width.view(-1)[free:] = 0
    return graph, Box(x - width, x + width)


def asked(box: Box, shift: float) -> Problem:
    spec = Specification(ROW[None, None], torch.full((1, 1), shift, dtype=torch.float64))
    return Problem("", (0,), box, spec)


def instance(family: str, margin: float) -> tuple[Graph, Problem]:
    """A row whose exact minimum over the box is `margin`."""
    graph, box = around(family, 0.03)
    return graph, asked(box, margin - exact_minimum(graph, box.lower[0], box.upper[0], ROW))


def beyond_linear(family: str, radius: float, free: int | None = None) -> tuple[Graph, Certificate]:
    """A certificate of what linear bounds miss by a quarter of what lies between them and the lowest value known."""
    graph, box = around(family, radius, free)
    specification = asked(box, 0.0).specification
    linear = max(float(method.margins(graph, box, specification, WorkBudget()).lower) for method in (FUSED, PAIRED))
    lowest = float(specification.margins(graph.evaluate(points(box, 2000, 0)[:, 0])).min())
    certificate = CERTIFIER.certify(graph, asked(box, -(0.75 * linear + 0.25 * lowest)), {"sample": 0})
    assert certificate is not None
    return graph, certificate


@pytest.fixture(scope="module")
def split() -> tuple[Graph, Certificate]:
    graph, certificate = beyond_linear("overlap", 0.05)
    assert any(leaf.splits for leaf in certificate.parts[0].leaves)
    return graph, certificate


@pytest.fixture(scope="module")
def halved() -> tuple[Graph, Certificate]:
    graph, certificate = beyond_linear("mlp", 0.7, free=3)
    assert len(certificate.parts) > 1
    return graph, certificate


@pytest.mark.parametrize("family", BASIC)
def test_a_written_certificate_is_accepted_and_true(family: str, tmp_path: Path) -> None:
    graph, problem = instance(family, 0.05)
    certificate = CERTIFIER.certify(graph, problem, {"sample": 7})
    assert certificate is not None
    loaded = Certificate.load(certificate.save(tmp_path / "c.npz"))
    margin = check(loaded, network_of(graph))
    assert 0 < margin <= 0.05 + 1e-6
    assert loaded.claim.about == {"sample": 7}


@pytest.mark.parametrize("family", BASIC)
def test_nothing_false_is_certified(family: str) -> None:
    graph, problem = instance(family, -1e-3)
    assert Certifier(Limits(WorkBudget(), 0.5)).certify(graph, problem, {}) is None


@pytest.mark.parametrize("norm", [Norm.L2, Norm.L1])
@pytest.mark.parametrize("family", FAMILIES)
def test_other_balls_and_layers(family: str, norm: Norm) -> None:
    graph = random_graph(family, 1)
    x = torch.rand(1, *graph.input_shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    scale = torch.full((), 0.5, dtype=torch.float64)
    ball = LpBall(x, torch.full((1,), 0.02, dtype=torch.float64), norm, scale, (-2.0, 3.0))
    label = graph.evaluate(x).argmax(1)
    spec = Specification.classified_as(label, 3)
    problem = Problem("", (0,), ball, Specification(spec.C.double(), spec.d.double()))
    certificate = CERTIFIER.certify(graph, problem, {})
    if certificate is None:
        pytest.skip("this label is not robust")
    assert check(certificate, network_of(graph)) > 0
    wide = replace(certificate, claim=replace(certificate.claim, radius=50.0))
    with pytest.raises(RejectedError, match="is proven down to"):
        check(wide, network_of(graph))


def test_a_changed_file_is_noticed(split: tuple[Graph, Certificate], tmp_path: Path) -> None:
    path = split[1].save(tmp_path / "c.npz")
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    changed = next(name for name in arrays if name.startswith("below."))
    arrays[changed] = arrays[changed] + np.float32(0.01)
    np.savez_compressed(path, **arrays)
    with pytest.raises(DamagedCertificateError, match="do not fit its digest"):
        Certificate.load(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DamagedCertificateError, match=r"cannot be read \(it is no \.npz file, or not a whole one\)"):
        Certificate.load(path)
    with pytest.raises(DamagedCertificateError, match="no such file"):
        Certificate.load(tmp_path / "gone.npz")


def test_other_weights_are_rejected(split: tuple[Graph, Certificate]) -> None:
    with pytest.raises(RejectedError, match="digest"):
        check(split[1], network_of(random_graph("overlap", 3)))


def reject(graph: Graph, certificate: Certificate, match: str) -> None:
    with pytest.raises(RejectedError, match=match):
        check(certificate, network_of(graph))


def test_another_claim_is_rejected(split: tuple[Graph, Certificate]) -> None:
    graph, certificate = split
    claim = certificate.claim
    wider = replace(claim, center=claim.center - 1.0, scale=claim.scale + 1.0)
    reject(graph, replace(certificate, claim=wider), "is proven down to")
    reject(graph, replace(certificate, claim=replace(claim, d=claim.d - 1.0)), "is proven down to")
    reject(graph, replace(certificate, claim=replace(claim, C=-claim.C)), "is proven down to")
    reject(graph, replace(certificate, claim=replace(claim, d=np.array([np.nan]))), "not finite")
    reject(graph, replace(certificate, claim=replace(claim, norm="l7")), "unknown kind")


def test_other_evidence_is_rejected(split: tuple[Graph, Certificate]) -> None:
    graph, certificate = split
    (part,) = certificate.parts
    leaf = next(leaf for leaf in part.leaves if leaf.splits)
    others = tuple(one for one in part.leaves if one is not leaf)

    def with_leaves(*leaves: Leaf) -> Certificate:
        return replace(certificate, parts=(replace(part, leaves=leaves),))

    reject(graph, with_leaves(*others), "splits do not cover")
    turned = replace(leaf.splits[-1], kept=leaf.splits[-1].dropped, dropped=leaf.splits[-1].kept)
    reject(graph, with_leaves(*others, replace(leaf, splits=(*leaf.splits[:-1], turned))), "splits do not cover|proven")
    reject(graph, with_leaves(*others, replace(leaf, multipliers=leaf.multipliers - 1.0)), "has multipliers")
    useless = {p: Slopes(s.below * 0, s.above * 0 - 9.0) for p, s in leaf.slopes.items()}
    reject(
        graph, with_leaves(*others, replace(leaf, splits=(), multipliers=np.zeros(0), slopes=useless)), "proven|cover"
    )
    for changed in ({"dropped": -1}, {"kept": 99}, {"output": -1}, {"position": -2}):
        one = replace(leaf.splits[0], **changed)
        sides = (one, replace(one, kept=one.dropped, dropped=one.kept))
        both = (replace(leaf, splits=(side,), multipliers=np.zeros(1)) for side in sides)
        reject(graph, with_leaves(*both), "does not fit")
    short = {p: Slopes(s.below[:, :-1], s.above[:, :-1]) for p, s in part.slopes.items()}
    reject(graph, replace(certificate, parts=(replace(part, slopes=short),)), "does not fit")
    reject(graph, replace(certificate, parts=(replace(part, slopes={}),)), "does not fit")


def test_a_missing_or_wrong_box_is_rejected(halved: tuple[Graph, Certificate]) -> None:
    graph, certificate = halved
    assert check(certificate, network_of(graph)) > 0
    reject(graph, replace(certificate, parts=certificate.parts[1:]), "do not cover")
    part = certificate.parts[0]
    moved = replace(part.halvings[-1], cut=part.halvings[-1].cut + 0.1)
    wrong = replace(part, halvings=(*part.halvings[:-1], moved))
    reject(graph, replace(certificate, parts=(wrong, *certificate.parts[1:])), "do not cover")


def test_trees() -> None:
    def cut(*sides: bool) -> tuple[Halving, ...]:
        return tuple(Halving(i, 0.5, side) for i, side in enumerate(sides))

    assert _covers([()], _same_cut)
    assert _covers([cut(True), cut(False, True), cut(False, False)], _same_cut)
    assert not _covers([], _same_cut)
    assert not _covers([cut(True), cut(False, True)], _same_cut)
    assert not _covers([cut(True), (Halving(0, 0.4, False),)], _same_cut)
