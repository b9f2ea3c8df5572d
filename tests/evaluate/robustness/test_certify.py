"""With certificates asked for, what has none does not count as certified; a torn one is written again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from calipers.bounds import CAPM
from calipers.check import Certificate
from calipers.core.distances import Distance
from calipers.core.problem import Problem
from calipers.core.space import InputSpace
from calipers.data.images import ImageDataset
from calipers.evaluate.robustness.certify import certificates, certify_run
from calipers.evaluate.robustness.measure import measure, report_of
from calipers.evaluate.robustness.prepare import Settings, prepare
from calipers.evaluate.robustness.worker import RobustnessWorker
from calipers.graph.graph import Graph
from calipers.models.loading import LoadedModel
from calipers.store.store import Store
from calipers.verify import BoundVerifier, Certifier

RADIUS = 0.02


@dataclass(frozen=True)
class Reluctant(Certifier):
    """Finds no evidence for samples of even number, and notes what it was asked for."""

    asked: list[int] = field(default_factory=list)

    def certify(self, graph: Graph, problem: Problem, about: Mapping[str, Any]) -> Certificate | None:
        self.asked.append(problem.sample_id[0])
        return None if self.asked[-1] % 2 == 0 else super().certify(graph, problem, about)


@pytest.fixture
def proven(tmp_path: Path, model: LoadedModel, digits: ImageDataset):
    settings = Settings((), (BoundVerifier(CAPM),), batch_size=12)
    worker = prepare(model, digits, InputSpace(), Distance.LINF, (RADIUS,), settings)
    with Store(tmp_path) as store:
        yield store, measure(store, worker, ""), worker


def test_only_what_has_a_certificate_is_certified(proven: tuple[Store, Any, RobustnessWorker]) -> None:
    store, before, worker = proven
    proofs = {b.sample_id for b in before.brackets if b.certified is not None}
    assert {sample % 2 for sample in proofs} == {0, 1}
    certify_run(store, before.run_id, worker, Reluctant())
    after = report_of(store, before.run_id)
    assert {b.sample_id for b in after.brackets if b.certified is not None} == {s for s in proofs if s % 2}
    assert after.rate("certified", RADIUS).measured == sum(s % 2 for s in proofs) / 24
    assert after.rate("verify:capm", RADIUS).measured == before.rate("verify:capm", RADIUS).measured
    (warning,) = (w for w in after.warnings if w.code == "no-certificate")
    assert "do not count as certified" in warning.message
    found = certificates(store, before.run_id)
    assert found is not None
    assert (found.written, found.verified) == (sum(s % 2 for s in proofs), len(proofs))


def test_what_is_there_is_kept_and_what_is_torn_is_written_again(proven: tuple[Store, Any, RobustnessWorker]) -> None:
    store, before, worker = proven
    first = Reluctant()
    certify_run(store, before.run_id, worker, first)
    assert len(first.asked) > 2
    folder = store.root / "certificates" / before.run_id
    one, *others = sorted(folder.glob("*.npz"))
    content, untouched = one.read_bytes(), [other.stat().st_mtime_ns for other in others]
    one.write_bytes(content[: len(content) // 2])
    again = Reluctant()
    certify_run(store, before.run_id, worker, again)
    assert len(again.asked) == 1
    assert Certificate.load(one)
    assert [other.stat().st_mtime_ns for other in others] == untouched
