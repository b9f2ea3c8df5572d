import numpy as np
import pytest
import torch
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC, LinearSVC
from torch import nn

from calipers.attacks import PGD
from calipers.attacks.attack import run_attack
from calipers.core.errors import InputError, ModelError
from calipers.core.problem import Problem, Specification
from calipers.core.results import Verdict
from calipers.core.threat import ThreatModel
from calipers.data.digits import load_digits
from calipers.graph.from_onnx import load_onnx
from calipers.graph.from_torch import from_module, graph_of
from calipers.models import load_model
from calipers.models.export import export_onnx
from calipers.repairs.hybrid import FeatureMap, kernel_head, linear_head
from calipers.verify import Complete, run_verifier
from tests.repairs.subjects import network


@pytest.fixture(scope="module")
def digits() -> tuple[FeatureMap, torch.Tensor, torch.Tensor]:
    model = load_model("digits.small").module
    data = load_digits("train")
    x, labels = data.batch(range(400))
    return FeatureMap.of(model, from_module(model, x[:2])), x, labels


def _problem(x: torch.Tensor, labels: torch.Tensor, epsilon: float) -> Problem:
    ball = ThreatModel("linf", epsilon).for_model(None).around(x)
    return Problem("m", tuple(range(len(x))), ball, Specification.classified_as(labels, 10))


def test_lh_gives_scikit_learns_decision_values_and_goes_through_attacks_verifiers_and_onnx(
    digits: tuple[FeatureMap, torch.Tensor, torch.Tensor], tmp_path: object
) -> None:
    features, x, labels = digits
    v = features(x).numpy()
    hybrid = features.under(linear_head(v, labels.numpy(), C=0.1))
    expected = LinearSVC(C=0.1, dual="auto", random_state=0).fit(v, labels.numpy()).decision_function(v)
    np.testing.assert_allclose(hybrid(x).numpy(), expected, atol=1e-3)
    right = hybrid(x).argmax(1) == labels
    assert float(right.float().mean()) > 0.9
    clean, truth = x[right][:4], labels[right][:4]
    assert bool(run_attack(PGD(), hybrid, _problem(clean, truth, 0.3), 0).success.any())
    answers = run_verifier(Complete(), hybrid, graph_of(hybrid, x[:2]), _problem(clean, truth, 0.001))
    assert Verdict.VERIFIED in answers.verdicts
    path = tmp_path / "lh.onnx"  # type: ignore[operator]
    export_onnx(hybrid, path, tuple(x.shape[1:]))
    torch.testing.assert_close(load_onnx(path)(x[:20]), hybrid(x[:20]), atol=1e-4, rtol=1e-4)


def test_kh_gives_scikit_learns_decision_values_and_attacks_take_it(
    digits: tuple[FeatureMap, torch.Tensor, torch.Tensor],
) -> None:
    features, x, labels = digits
    v = features(x).numpy().astype(np.float64)
    hybrid = features.under(kernel_head(v, labels.numpy()))
    gamma = 1.0 / (v.shape[1] * v.var())
    expected = OneVsRestClassifier(SVC(gamma=gamma)).fit(v, labels.numpy()).decision_function(v)
    np.testing.assert_allclose(hybrid(x).numpy(), expected, atol=1e-3)
    right = hybrid(x).argmax(1) == labels
    assert bool(run_attack(PGD(), hybrid, _problem(x[right][:4], labels[right][:4], 0.5), 0).success.any())


def test_no_verifier_is_silent_about_the_kernel(digits: tuple[FeatureMap, torch.Tensor, torch.Tensor]) -> None:
    features, x, labels = digits
    hybrid = features.under(kernel_head(features(x).numpy().astype(np.float64), labels.numpy()))
    with pytest.raises(ModelError, match="supported"):
        graph_of(hybrid, x[:2])


@pytest.mark.parametrize("kind", ["linear", "kernel"])
def test_two_classes_have_two_decision_values(kind: str) -> None:
    rng = np.random.default_rng(0)
    v, labels = rng.normal(size=(40, 5)), np.repeat([1, 3], 20)
    v[20:] += 2
    head = linear_head(v, labels) if kind == "linear" else kernel_head(v, labels)
    outputs = head(torch.from_numpy(v).float())
    assert outputs.shape == (40, 4)
    assert float((outputs.argmax(1).numpy() == labels).mean()) > 0.9
    torch.testing.assert_close(outputs[:, 1], -outputs[:, 3])


def test_any_network_can_be_split_at_any_fully_connected_layer() -> None:
    model, x = network(), torch.rand(30, 1, 4, 4)
    features = FeatureMap.of(model, from_module(model, x), "6")
    assert features.size == 12
    torch.testing.assert_close(features(x), model[:6](x))  # type: ignore[index]
    hybrid = features.under(nn.Linear(12, 3))
    assert hybrid(x).shape == (30, 3)
    with pytest.raises(InputError, match="'conv' is no fully connected layer of the model; accepted: 4, 6"):
        FeatureMap.of(model, from_module(model, x), "conv")


def test_labels_of_one_class_are_refused() -> None:
    with pytest.raises(InputError, match=r"all labels are \[2\]"):
        linear_head(np.ones((3, 2)), np.full(3, 2))
