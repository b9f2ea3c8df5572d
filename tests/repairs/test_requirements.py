import numpy as np
import pytest
import torch

from calipers.bounds import FUSED, WorkBudget
from calipers.core.norms import Norm
from calipers.core.problem import Specification
from calipers.core.sets import LpBall
from calipers.repairs.layers import Cut, chosen_layer, cut_at
from calipers.repairs.requirements import AtPoints, OnBalls, OnBoxes, boxes_over
from tests.repairs.subjects import network, subject


def _cut(seed: int = 0) -> tuple[Cut, LpBall, np.ndarray]:
    model = network(seed)
    about, failures = subject(model)
    cut = cut_at(about.graph, chosen_layer(model, about.graph))
    radius = torch.full((len(failures),), 0.03)
    return cut, LpBall(failures.x, radius, Norm.LINF, torch.ones(1), (0.0, 1.0)), failures.labels.numpy()


def _weights(cut: Cut, count: int = 5) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [cut.weight + rng.normal(size=cut.weight.shape) for _ in range(count)]


def test_points_ask_for_what_their_margins_miss() -> None:
    cut, ball, labels = _cut()
    features = cut.inputs(ball.center)
    asked = AtPoints(features, labels, 0.5, np.arange(4) + 10)
    rows = asked.violated(cut, cut.weight, 1.0)
    for left, right, least, sample in zip(rows.left, rows.right, rows.least, rows.sample, strict=True):
        margin = left @ cut.weight @ right
        assert least == pytest.approx(0.5 - margin)
        assert margin < 0.5
        np.testing.assert_array_equal(right, features[sample - 10])
        assert left[labels[sample - 10]] == 1
    margins = (features @ cut.weight.T)[np.arange(4), labels][:, None] - features @ cut.weight.T
    assert len(rows) == (margins < 0.5).sum() - 4


def test_a_boxs_worst_point_is_its_worst_corner() -> None:
    cut, _, labels = _cut()
    rng = np.random.default_rng(1)
    lower = rng.normal(size=(4, 13))
    upper = lower + rng.random((4, 13))
    rows = OnBoxes(lower, upper, labels, 100.0, np.arange(4)).violated(cut, cut.weight, 1.0)
    assert len(rows) == 8
    for left, right, sample in zip(rows.left, rows.right, rows.sample, strict=True):
        direction = left @ cut.weight
        bits = (np.arange(2**13)[:, None] >> np.arange(13)) & 1
        corners = np.where(bits, upper[sample], lower[sample])
        assert direction @ right == pytest.approx((corners @ direction).min())


def test_on_balls_the_bound_is_that_of_the_whole_network_and_its_gradient_a_point_that_attains_it() -> None:
    cut, ball, labels = _cut()
    asked = OnBalls.over(cut, ball, labels, 1e3, np.arange(4), WorkBudget())
    for weight in [cut.weight, *_weights(cut)]:
        rows = asked.violated(cut, weight, 1.0)
        found = np.einsum("ro,ro->r", rows.left, rows.right @ weight.T).reshape(4, 2)
        graph = cut.repaired(weight)
        whole = FUSED.margins(graph, ball, Specification.classified_as(torch.from_numpy(labels), 3), WorkBudget())
        # But for what both charge for rounding.
        np.testing.assert_allclose(found, whole.lower.numpy(), atol=2e-3)


@pytest.mark.parametrize("kind", ["box", "linear"])
def test_every_row_holds_wherever_the_requirement_holds(kind: str) -> None:
    """Rows made at one change are valid for another: margins on the ball are never below what the row's point says."""
    cut, ball, labels = _cut()
    asked = (
        boxes_over(cut, ball, labels, 1e3, np.arange(4), WorkBudget())
        if kind == "box"
        else OnBalls.over(cut, ball, labels, 1e3, np.arange(4), WorkBudget())
    )
    weights = _weights(cut)
    for weight in weights:
        rows = asked.violated(cut, weight, 1.0)
        for other in weights:
            worst = asked.violated(cut, other, 1.0)
            least = np.einsum("ro,ro->r", worst.left, worst.right @ other.T)
            here = np.einsum("ro,ro->r", rows.left, rows.right @ other.T)
            assert (here >= least - 1e-4).all()


def test_bounds_of_features_hold_on_sampled_inputs() -> None:
    cut, ball, labels = _cut()
    boxes = boxes_over(cut, ball, labels, 1.0, np.arange(4), WorkBudget())
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        features = cut.inputs(ball.sample(generator))
        assert (features >= boxes.lower - 1e-6).all()
        assert (features <= boxes.upper + 1e-6).all()
