"""Minimum-norm attacks in runs: one record per sample, which answers for every radius."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import calipers
from calipers.attacks import PDPGD, PGD
from calipers.bounds import CAPM
from calipers.core.distances import Distance
from calipers.core.errors import InputError, SoundnessError, StoreError
from calipers.core.results import Termination
from calipers.data.images import ImageDataset
from calipers.evaluate.robustness.distances import BEST, Distances
from calipers.evaluate.robustness.records import Outcome, Question, SampleRecord
from calipers.evaluate.robustness.soundness import check_soundness
from calipers.models.loading import LoadedModel
from calipers.report.curves import save_distance_curve
from calipers.report.nearest import NearestReport, load_nearest
from calipers.store.store import Store
from calipers.verify import BoundVerifier

EPSILONS = [0.01, 0.05, 0.2]


def attack(model: LoadedModel, digits: ImageDataset, out: Path, **changes: Any) -> NearestReport:
    settings: dict[str, Any] = {"attacks": ["pdpgd-linf"], "propagations": 60, "out": out}
    return calipers.attack(model, digits, **settings | changes)


def test_its_distances_are_the_accuracies_of_a_measurement(
    model: LoadedModel, digits: ImageDataset, tmp_path: Path
) -> None:
    found = attack(model, digits, tmp_path)
    threat = calipers.ThreatModel("linf", 0.2)
    report = calipers.measure(
        model, digits, threat, epsilons=EPSILONS, attacks=["pdpgd-linf"], propagations=60, verifiers=[], out=tmp_path
    )
    for epsilon in EPSILONS:
        share = report.rate("attack:pdpgd-linf|correct", epsilon).measured
        assert share == pytest.approx(found.attacks[0].accuracy(epsilon))
        assert report.rate("empirical|correct", epsilon).measured == share


def test_with_another_attack_and_a_proof_the_jaws_do_not_cross(
    model: LoadedModel, digits: ImageDataset, tmp_path: Path
) -> None:
    report = calipers.measure(
        model,
        digits,
        calipers.ThreatModel("linf", 0.2),
        epsilons=EPSILONS,
        attacks=[PGD(), PDPGD.within(Distance.LINF, 60)],
        verifiers=[BoundVerifier(CAPM)],
        out=tmp_path,
    )
    for epsilon in EPSILONS:
        low, high = (report.rate(name, epsilon).measured for name in ("certified", "empirical"))
        assert low <= high <= report.rate("clean").measured
        assert high <= min(report.rate(name, epsilon).measured for name in ("attack:pgd", "attack:pdpgd-linf"))
    for bracket in report.numbers.brackets:
        assert bracket.distance is None or bracket.certified is None or bracket.distance > bracket.certified


def test_stored_examples_are_replayed_and_a_changed_one_is_noticed(
    model: LoadedModel, digits: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = attack(model, digits, tmp_path)
    again = attack(model, digits, tmp_path, resume=True)
    assert again.run_id == first.run_id
    assert again.attacks == first.attacks
    genuine = Store.arrays

    def moved(self: Store, run_id: str, unit: str) -> dict:
        return {name: 0.5 * array for name, array in genuine(self, run_id, unit).items()}

    monkeypatch.setattr(Store, "arrays", moved)
    with pytest.raises(StoreError, match=r"sample \d+ has distance"):
        attack(model, digits, tmp_path, resume=True)


@pytest.mark.parametrize("distance", list(Distance))
def test_every_distance_has_a_command(
    distance: Distance, model: LoadedModel, digits: ImageDataset, tmp_path: Path
) -> None:
    found = attack(model, digits, tmp_path, distance=distance, attacks=[f"pdpgd-{distance}"])
    assert found.attacks[0].found == found.correct
    assert found.attacks[0].passes <= 60
    if distance.norm is None:
        assert all(d == round(d) for d in found.attacks[0].distances)


def test_the_best_of_all_is_the_default_number(model: LoadedModel, digits: ImageDataset, tmp_path: Path) -> None:
    found = attack(model, digits, tmp_path, distance="l2", attacks=["pdgd", "pdpgd-l2"])
    one, two, best = found.attacks
    assert best.attack == BEST
    assert best.distances == tuple(map(min, one.distances, two.distances))
    assert best.passes == one.passes + two.passes
    rows = {row.name: row for row in found.rows()}
    assert rows["attack:best of all median|correct"].measured == best.median
    assert rows["attack:pdgd success|correct"].measured == 1.0
    figure = save_distance_curve(found, tmp_path / "curve.png")
    assert figure is not None
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_medians_count_what_was_not_found() -> None:
    one = Distances("a", (1.0, 2.0, math.inf, math.inf, math.inf), 1.0, 1.0)
    assert (one.found, one.median, one.mean) == (2, math.inf, 1.5)
    assert one.accuracy(1.0) == 0.8
    low, high = Distances("b", tuple(float(i) for i in range(1, 101)), 1.0, 1.0).median_interval
    assert 39 <= low <= 42
    assert 59 <= high <= 62


def test_wrong_attacks_are_named(model: LoadedModel, digits: ImageDataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'pgd' searches balls"):
        attack(model, digits, tmp_path, attacks=["pgd"])
    with pytest.raises(InputError, match=r"'pdgd' minimises l2, not linf"):
        attack(model, digits, tmp_path, attacks=["pdgd"])
    calipers.measure(
        model, digits, calipers.ThreatModel("linf", 0.1), attacks=["fgsm"], verifiers=[], samples=4, out=tmp_path
    )
    with Store(tmp_path) as store, pytest.raises(InputError, match="has no minimum-norm attack"):
        load_nearest(store, "latest")


def record(kind: Question, outcome: Outcome, epsilon: float | None, distance: float | None) -> SampleRecord:
    return SampleRecord(0, 1, kind, "m", epsilon, outcome, Termination.COMPLETED, 0.5, distance, 1, 1, 1, 0.0, 0)


def test_an_example_beyond_the_proven_ball_is_no_breach_and_one_within_is() -> None:
    proof = record(Question.VERIFY, Outcome.VERIFIED, 0.1, None)
    check_soundness([proof, record(Question.ATTACK, Outcome.BROKEN, None, 0.11)])
    with pytest.raises(SoundnessError, match="sample 0"):
        check_soundness([proof, record(Question.ATTACK, Outcome.BROKEN, None, 0.09)])


def test_a_run_without_radii_says_what_it_knows(model: LoadedModel, digits: ImageDataset, tmp_path: Path) -> None:
    found = attack(model, digits, tmp_path)
    with Store(tmp_path) as store:
        from calipers.report.load import load_report

        report = load_report(store, found.run_id)
    assert "at a median distance of" in str(report)
    assert torch.tensor([row.distance or 0.0 for row in report.numbers.brackets]).gt(0).sum() > 0
    assert "pdpgd-linf" in report.html()
