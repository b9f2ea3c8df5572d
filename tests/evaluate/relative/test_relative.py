"""Relative perturbations on a linear classifier, where they are known, and as a run."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from calipers.attacks import DDN, DeepFool
from calipers.attacks.high_confidence import UntilConfident
from calipers.core.distances import Distance
from calipers.core.space import InputSpace
from calipers.data.images import ImageDataset
from calipers.evaluate.relative.goals import AsConfident, Misclassified, Towards
from calipers.evaluate.relative.statistics import relatives_of
from calipers.evaluate.relative.task import CODEC, Aim, RelativeRecord, RelativeTask
from calipers.evaluate.relative.worker import RelativeWorker
from calipers.evaluate.run import begin, run
from calipers.report.views import view_of
from calipers.store.store import Store

AIMS = (
    Aim("DeepFool", DeepFool(Distance.L2, 10**9, 500, longest=0.05), Misclassified()),
    Aim("own", UntilConfident(longest=0.02), AsConfident()),
    Aim("to 1", UntilConfident(0.9, longest=0.02), Towards(1, 0.9)),
    Aim("to 1, DDN", DDN(400), Towards(1, 0.9)),
)


def worker(aims: tuple[Aim, ...] = AIMS, domain: tuple[float, float] | None = None) -> RelativeWorker:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).requires_grad_(False)
    images, labels = torch.rand(30, 1, 4, 4), torch.randint(2, (30,))
    data = ImageDataset("made", images, labels, ("0", "1"))
    space = InputSpace(domain).for_model(None)
    task = RelativeTask("net", "m", "made", data.digest, tuple(range(25)), aims, space, 0, batch_size=10)
    return RelativeWorker(task, net, data)


def found(of: RelativeWorker) -> dict[str, list[RelativeRecord]]:
    records = [record for unit in of.plan({}) for record in of.execute(unit).records]
    return {one.aim: list(one.records) for one in relatives_of(records, [aim.name for aim in of.task.aims])}


def test_on_a_linear_classifier_distances_are_those_of_planes() -> None:
    made = worker()
    images, labels = made.dataset.batch(range(25))
    logits = made.model(images)
    weight: torch.Tensor = made.model[1].weight  # type: ignore[index]
    slope = float((weight[1] - weight[0]).norm())
    margin = (logits[:, 1] - logits[:, 0]).abs() / slope
    towards = ((math.log(9) - (logits[:, 1] - logits[:, 0])) / slope).clamp_min(0)
    records = found(made)
    for aim, expected, slack in (
        ("DeepFool", margin, 0.02),
        # As sure as before, of two classes, is as far on the other side.
        ("own", 2 * margin, 0.08),
        ("to 1", towards, 0.08),
        ("to 1, DDN", towards, 0.08),
    ):
        distance = torch.tensor([record.distance for record in records[aim]])
        assert (distance >= expected * (1 - 1e-4)).all()
        assert (distance <= expected * (1 + slack) + 0.025).all()
    for i, record in enumerate(records["own"]):
        assert record.size == pytest.approx(float(images[i].norm()), rel=1e-5)
        assert (record.label, record.before, record.after) == (
            int(labels[i]),
            int(logits[i].argmax()),
            1 - record.before,
        )
        assert record.confidence >= float(logits[i].softmax(0).max()) - 1e-5


def test_the_mean_is_over_all_images_for_which_the_aim_was_reached() -> None:
    def record(sample: int, distance: float | None, size: float) -> RelativeRecord:
        return RelativeRecord("a", sample, distance, size, 0, 1, 1, 0.5, 10, 0.25)

    (one,) = relatives_of([record(0, 1.0, 2.0), record(1, 3.0, 4.0), record(2, None, 5.0)], ["b", "a"])
    assert one.rho == pytest.approx(0.625)
    low, high = one.interval
    assert (low + high) / 2 == pytest.approx(0.625)
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(2 * 0.125**2) / math.sqrt(2))
    rows = {row.name: row for row in one.rows(paper=0.5)}
    assert (rows["rho a"].n, rows["rho a"].paper, rows["rho a"].seconds) == (2, 0.5, 0.25)
    assert rows["a reached"].measured == pytest.approx(2 / 3)
    (none,) = relatives_of([record(0, None, 1.0)], ["a"])
    assert math.isnan(none.rho)
    assert [row.measured for row in none.rows()] == [None, 0.0, 10.0]


def test_what_cannot_be_reached_says_so() -> None:
    """No image of all the domain is taken for class 1 with this confidence."""
    (records,) = found(
        worker((Aim("far", UntilConfident(0.999999, steps=30), Towards(1, 0.999999)),), (0.0, 1.0))
    ).values()
    assert all(record.distance is None and record.before == record.after for record in records)


class Stop:
    """Presses Ctrl-C once so much is done."""

    def __init__(self, after: int) -> None:
        self.after = after

    def advance(self, doing: str, done: int) -> None:
        if done >= self.after:
            raise KeyboardInterrupt


def test_a_stopped_run_goes_on_to_the_same_records_and_has_a_page(tmp_path: Path) -> None:
    made = worker(AIMS[:2])
    kept = []
    for name, stop in (("whole", None), ("parts", 20)):
        with Store(tmp_path / name) as store:
            started = begin(store, made.task, "calipers reproduce x", resume=True)
            if stop is not None:
                with pytest.raises(KeyboardInterrupt):
                    run(started, made, CODEC, store, tracker=Stop(stop))
                assert 0 < len(store.records(started.run_id, CODEC)) < 50
            ended = run(begin(store, made.task, "", resume=True), made, CODEC, store)
            records = store.records(ended.run_id, CODEC)
            kept.append([(r.aim, r.sample, r.distance, r.passes) for r in records])
            images, _ = made.dataset.batch(range(10))
            assert torch.equal(torch.from_numpy(store.arrays(ended.run_id, "aim-00-000000")["image"]), images)
            page = view_of(store, ended.run_id).html()
    assert kept[0] == kept[1]
    assert len(kept[0]) == 50
    assert "of the image&#39;s norm" in page or "of the image's norm" in page
    assert CODEC.load(CODEC.dump(records[3])) == records[3]
