import dataclasses

import pytest
import torch
from torch import nn

from calipers.attacks import FGSM, PGD
from calipers.bounds import CAPM
from calipers.core.distances import Distance
from calipers.core.errors import CalipersError, InputError, ModelError, UnsupportedLayerError
from calipers.core.threat import ThreatModel
from calipers.data.images import ImageDataset
from calipers.evaluate.robustness.measure import measure, records_of, refresh, report_of
from calipers.evaluate.robustness.plan import method_units
from calipers.evaluate.robustness.prepare import Settings, prepare
from calipers.evaluate.robustness.records import Outcome, Question
from calipers.evaluate.robustness.sanity import inspect
from calipers.evaluate.robustness.worker import RobustnessWorker
from calipers.evaluate.run import begin
from calipers.execute import Processes
from calipers.models.loading import LoadedModel, load_model
from calipers.report.load import load_report
from calipers.report.verdict import verdict
from calipers.store.store import Store
from calipers.verify import BoundVerifier, Milp
from tests.nets import dense

SETTINGS = Settings((FGSM(), PGD(steps=8, restarts=2)), (BoundVerifier(CAPM),), batch_size=10)
EPSILONS = (0.01, 0.05, 0.3)
THREAT = ThreatModel("linf", 0.3)


def prepared(
    model: LoadedModel, data: ImageDataset, threat: ThreatModel, epsilons: tuple[float, ...], settings: Settings
) -> RobustnessWorker:
    return prepare(model, data, threat.space, Distance(threat.norm), epsilons, settings)


@pytest.fixture
def measured(tmp_path, model, digits):
    worker = prepared(model, digits, THREAT, EPSILONS, SETTINGS)
    with Store(tmp_path) as store:
        report = measure(store, worker, "calipers measure")
        yield store, report.run_id, worker, report


def test_the_jaws_enclose_and_every_sample_has_every_answer(measured) -> None:
    store, run_id, _, report = measured
    records = records_of(store, run_id)
    assert len(records) == 24 * (1 + len(EPSILONS) * 3)
    clean = report.rate("clean").measured
    for epsilon in EPSILONS:
        empirical, certified = (report.rate(name, epsilon).measured for name in ("empirical", "certified"))
        assert certified <= empirical <= clean
        assert report.rate("undecided", epsilon).measured == pytest.approx(empirical - certified)
        assert empirical <= min(report.rate(f"attack:{a}", epsilon).measured for a in ("fgsm", "pgd"))
    assert report.rate("certified", 0.01).measured > 0.3
    assert report.rate("empirical", 0.3).measured < 0.3
    assert {r.question for r in records} == {Question.CLEAN, Question.ATTACK, Question.VERIFY}
    assert report.status == "complete"


def test_stored_adversarial_examples_re_score_to_the_records(measured) -> None:
    store, run_id, worker, _ = measured
    records = {(r.method, r.epsilon, r.sample_id): r for r in records_of(store, run_id)}
    subject = worker.subject
    for unit in method_units(worker.task):
        if unit.question is not Question.ATTACK:
            continue
        x = torch.from_numpy(store.arrays(run_id, unit.name)["adversarial"])
        predicted = subject.model(x).argmax(1)
        distance = (x - subject.images[unit.samples]).flatten(1).abs().amax(1)
        for i in range(unit.count):
            record = records[unit.method, unit.epsilon, unit.first + i]
            assert record.prediction == int(predicted[i])
            assert (record.outcome is Outcome.BROKEN) == (int(predicted[i]) != record.label)
            if record.distance is not None:
                assert record.distance == pytest.approx(float(distance[i]), abs=1e-6)
                assert unit.epsilon is not None
                assert record.distance <= unit.epsilon * (1 + 1e-5)


def test_reports_survive_the_store_and_can_be_recomputed(measured) -> None:
    store, run_id, _, report = measured
    assert report_of(store, run_id) == report == refresh(store, run_id)


def test_brackets_hold_the_jaws_of_each_sample(measured) -> None:
    *_, report = measured
    for bracket in report.brackets:
        if bracket.certified is not None and bracket.distance is not None:
            assert bracket.certified < bracket.distance
    assert any(b.certified is not None and b.distance is not None for b in report.brackets)


def without_times(records):
    return [dataclasses.replace(record, seconds=0.0) for record in records]


class StopError(Exception):
    pass


@pytest.mark.parametrize("error", [KeyboardInterrupt, StopError])
def test_an_interrupted_run_resumes_to_the_same_records(tmp_path, model, digits, error, measured) -> None:
    store, run_id, worker, _ = measured

    class Interrupt:
        calls = 0

        def advance(self, doing: str, done: int) -> None:
            self.calls += 1
            if self.calls == 17:
                raise error

    with Store(tmp_path / "second") as second:
        with pytest.raises(error):
            measure(second, worker, "", tracker=Interrupt())
        run = second.run("latest")
        assert run.status == ("interrupted" if error is KeyboardInterrupt else "failed")
        partial = refresh(second, run.run_id)
        assert partial.rate("clean").n == 24
        assert measure(second, worker, "", resume=True).run_id == run.run_id
        assert without_times(records_of(second, run.run_id)) == without_times(records_of(store, run_id))


def test_records_do_not_depend_on_the_executor(tmp_path, measured) -> None:
    store, run_id, worker, report = measured
    with Store(tmp_path / "other") as other:
        found = measure(other, worker.shared(2), "", executor=Processes(2))
        assert without_times(records_of(other, found.run_id)) == without_times(records_of(store, run_id))
        assert [rate.measured for rate in found.rates] == [rate.measured for rate in report.rates]
        assert found.warnings == report.warnings


def test_a_changed_specification_starts_a_new_run(measured, model, digits) -> None:
    store, run_id, worker, _ = measured
    other = prepared(model, digits, THREAT, (0.02,), SETTINGS)
    assert begin(store, other.task, "", resume=True).run_id != run_id
    assert begin(store, worker.task, "", resume=True).run_id == run_id
    assert begin(store, worker.task, "", resume=False).run_id != run_id


def wrap(net: nn.Module) -> LoadedModel:
    return LoadedModel(net, "net", "digest", None, None, None)


FLAT = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


@pytest.mark.parametrize(
    ("net", "threat", "epsilons", "error", "message"),
    [
        (FLAT, THREAT, (), InputError, "none was given"),
        (FLAT, THREAT, (-1.0,), InputError, "finite number >= 0"),
        (FLAT, ThreatModel("l1", 0.1), (0.1,), InputError, "attack 'fgsm' searches l2, linf balls, the threat is l1"),
        (FLAT, ThreatModel("l2", 0.1), (float("nan"),), InputError, "finite number >= 0"),
        (
            FLAT,
            ThreatModel("linf", 0.1, (0.0, 0.5)),
            (0.1,),
            InputError,
            r"outside the domain from 0 to 0\.5",
        ),
        (FLAT, ThreatModel("linf", 0.1, unit="normalised"), (0.1,), InputError, "Normalise"),
        (nn.Sequential(nn.Flatten(), nn.Linear(32, 10)), THREAT, (0.1,), ModelError, r"\(2, 1, 8, 8\)"),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(64, 5)),
            THREAT,
            (0.1,),
            InputError,
            "has label 5, the model has 5",
        ),
        (nn.Sequential(nn.BatchNorm2d(1), FLAT).train(), THREAT, (0.1,), ModelError, r"call \.eval\(\)"),
    ],
)
def test_bad_input_is_named_before_the_work_starts(net, threat, epsilons, error, message, digits) -> None:
    net = net if net.training and isinstance(net[0], nn.BatchNorm2d) else net.eval()
    with pytest.raises(error, match=message):
        prepared(wrap(net), digits, threat, epsilons, SETTINGS)


def test_a_model_with_nan_weights_is_refused(digits) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    dense(net, 1).weight.data[0, 0] = float("nan")
    with pytest.raises(CalipersError, match="NaN"):
        prepared(wrap(net), digits, THREAT, (0.1,), SETTINGS)


def test_probabilities_are_a_warning_and_verifiers_can_be_left_out(tmp_path, model, digits) -> None:
    net = nn.Sequential(model.module, nn.Softmax(1)).eval()
    settings = dataclasses.replace(SETTINGS, verifiers=())
    worker = prepared(wrap(net), digits, THREAT, (0.1,), settings)
    with Store(tmp_path) as store:
        report = measure(store, worker, "")
    assert "probabilities" in [warning.code for warning in report.warnings]
    with pytest.raises(KeyError, match="not measured"):
        report.rate("certified", 0.1)
    assert "no verifier ran" in verdict(report)


def test_a_layer_that_no_verifier_knows_leaves_the_attacks_running(tmp_path, model, digits) -> None:
    net = nn.Sequential(model.module, nn.Linear(10, 10), nn.GELU()).eval()
    worker = prepared(wrap(net), digits, THREAT, (0.1,), SETTINGS)
    with Store(tmp_path) as store:
        run_id = measure(store, worker, "").run_id
        report = load_report(store, run_id)
        assert all(record.question is not Question.VERIFY for record in records_of(store, run_id))
    (warning,) = (w for w in report.numbers.warnings if w.code == "not-verifiable")
    assert "not measured" in warning.message
    assert "layer '2': aten.gelu.default" in warning.evidence
    rows = {rate.name for rate in report.numbers.rates}
    assert {"clean", "empirical", "attack:pgd"} <= rows
    assert not {"certified", "undecided", "verify:capm"} & rows
    assert report.save(tmp_path / "page.html").exists()
    with pytest.raises(UnsupportedLayerError, match="gelu"):
        prepared(wrap(net), digits, THREAT, (0.1,), dataclasses.replace(SETTINGS, attacks=()))


class Masked(nn.Module):
    """Same predictions, no gradients: the classic way to look robust."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net((x * 16).round() / 16)


def test_masked_gradients_are_found_out(tmp_path, model, digits) -> None:
    settings = dataclasses.replace(SETTINGS, verifiers=())
    worker = prepared(wrap(Masked(model.module).eval()), digits, THREAT, (0.1,), settings)
    with Store(tmp_path) as store:
        report = measure(store, worker, "")
    assert {"zero-gradient", "unbounded-attack-fails"} <= {warning.code for warning in report.warnings}


def warned(worker) -> set[str]:
    return {warning.code for warning in inspect(worker.subject, worker.task)}


def test_an_attack_that_more_effort_would_make_stronger_is_found_out(model, digits) -> None:
    weak = dataclasses.replace(SETTINGS, verifiers=(), attacks=(PGD(steps=1, restarts=1, step_size=0.2),))
    strong = dataclasses.replace(SETTINGS, verifiers=(), attacks=(PGD(steps=40, restarts=4),))
    assert "effort-helps" in warned(prepared(model, digits, THREAT, (0.1,), weak))
    assert "effort-helps" not in warned(prepared(model, digits, THREAT, (0.1,), strong))


def test_numbered_classes_grow_to_the_outputs_of_the_model(model) -> None:
    few = ImageDataset("mine", torch.rand(3, 1, 8, 8), torch.tensor([0, 1, 2]), ("0", "1", "2"))
    assert len(prepared(model, few, THREAT, (0.1,), SETTINGS).task.class_names) == 10


def test_l1_has_a_lower_jaw_only(tmp_path, model, digits) -> None:
    settings = dataclasses.replace(SETTINGS, attacks=())
    worker = prepared(model, digits, ThreatModel("l1", 0.1), (0.1,), settings)
    with Store(tmp_path) as store:
        report = measure(store, worker, "")
    assert report.rate("certified", 0.1).measured > 0
    with pytest.raises(KeyError, match="not measured"):
        report.rate("empirical", 0.1)
    assert "no attack ran" in verdict(report)


def test_nothing_to_do_and_doing_it_twice_are_errors(model, digits) -> None:
    with pytest.raises(InputError, match="nothing to measure"):
        prepared(model, digits, THREAT, (0.1,), Settings((), ()))
    with pytest.raises(InputError, match="attack 'fgsm' is given 2 times"):
        prepared(model, digits, THREAT, (0.1,), Settings((FGSM(), FGSM()), ()))


def test_what_a_verifier_cannot_answer_is_told_before_the_work_starts(model, digits) -> None:
    smooth = LoadedModel(nn.Sequential(nn.Flatten(), nn.Sigmoid(), nn.Linear(64, 10)), "smooth", "s", None, None, None)
    only = Settings((), (Milp(),))
    with pytest.raises(InputError, match="is a Sigmoid; accepted: "):
        prepared(smooth, digits, THREAT, (0.1,), only)
    with pytest.raises(InputError, match="l2 ball"):
        prepared(model, digits, ThreatModel("l2", 0.1), (0.1,), only)


def test_images_that_do_not_fit_and_untrained_weights_are_told(digits) -> None:
    with pytest.raises(InputError, match=r"\(1, 8, 8\), capm.convsmall takes \(1, 28, 28\)"):
        prepared(load_model("capm.convsmall"), digits, ThreatModel("linf", 0.1, unit="pixel"), (0.1,), SETTINGS)
    warnings = prepared(load_model("digits.maxpool"), digits, THREAT, (0.1,), SETTINGS).warnings
    assert "random-weights" in [warning.code for warning in warnings]


def test_a_final_softmax_is_noted_and_proofs_hold_for_the_logits(tmp_path, model, digits) -> None:
    worker = prepared(wrap(nn.Sequential(model.module, nn.Softmax(1)).eval()), digits, THREAT, (0.01,), SETTINGS)
    plain = prepared(model, digits, THREAT, (0.01,), SETTINGS)
    with Store(tmp_path) as store:
        report, other = (measure(store, m, "") for m in (worker, plain))
    assert {"graph", "probabilities"} <= {warning.code for warning in report.warnings}
    assert report.rate("certified", 0.01).measured == other.rate("certified", 0.01).measured
