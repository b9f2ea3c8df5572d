"""Answers against dense samples, and counterexamples that onnxruntime confirms."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from calipers.bounds import WorkBudget
from calipers.core.errors import InputError
from calipers.graph.from_onnx import load_onnx_network
from calipers.verify import Limits
from calipers.verify.vnnlib import Answer, Property, SatOutcome, decide
from calipers.verify.vnnlib.syntax import parse
from tests.elsewhere import elsewhere
from tests.limits import NEVER
from tests.verify.vnnlib.families import property_text, write_mlp

BOX = [(-1.0, 1.0), (-0.5, 0.5)]


def answer(path: Path, text: str, timeout: float = NEVER) -> Answer:
    return decide(load_onnx_network(path), Property.of(parse(text)), Limits(WorkBudget(), timeout))


def outputs(path: Path, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path)
    return np.concatenate([session.run(None, {"x": row[None]})[0] for row in x.astype(np.float32)])


@pytest.mark.parametrize("seed", range(4))
def test_thresholds_on_both_sides_of_the_sampled_minimum(seed: int, tmp_path: Path) -> None:
    path = write_mlp(tmp_path / "net.onnx", seed)
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-0.5, 0.5, 41)), -1).reshape(-1, 2)
    largest = outputs(path, grid)[:, :2].max(1)
    conjunction = "(assert (<= Y_0 {0}))(assert (<= Y_1 {0}))"
    low = float(largest.min())
    assert answer(path, property_text(BOX, 3, conjunction.format(low - 0.5))).outcome is SatOutcome.UNSAT
    found = answer(path, property_text(BOX, 3, conjunction.format(low + 0.01)))
    assert found.outcome is SatOutcome.SAT
    assert found.unsafe is not None
    replayed = outputs(path, found.unsafe.x[None])[0]
    assert np.array_equal(replayed, found.unsafe.y)
    assert replayed[:2].max() <= low + 0.01
    assert all(low <= v <= high for v, (low, high) in zip(found.unsafe.x, BOX, strict=True))


def test_answers_from_another_device_are_those_of_the_cpu(tmp_path: Path) -> None:
    path = write_mlp(tmp_path / "net.onnx", 1)
    network = load_onnx_network(path)
    low = float(outputs(path, np.random.default_rng(0).uniform([-1, -0.5], [1, 0.5], (500, 2)))[:, 0].min())
    for threshold in (low - 2.0, low + 0.01):
        asked = Property.of(parse(property_text(BOX, 3, f"(assert (<= Y_0 {threshold}))")))
        here = decide(network, asked, Limits(WorkBudget(), NEVER))
        with elsewhere() as device:
            there = decide(network, asked, Limits(WorkBudget(), NEVER), device)
        assert there.outcome is here.outcome
        if here.unsafe is not None and there.unsafe is not None:
            assert np.array_equal(there.unsafe.x, here.unsafe.x)


def test_a_device_without_double_precision_is_refused(tmp_path: Path) -> None:
    network = load_onnx_network(write_mlp(tmp_path / "net.onnx", 1))
    asked = Property.of(parse(property_text(BOX, 3, "(assert (<= Y_0 0))")))
    with pytest.raises(InputError, match="device mps: has no double precision, which the search needs"):
        decide(network, asked, Limits(WorkBudget(), NEVER), torch.device("mps"))


def test_a_counterexample_in_one_of_several_boxes(tmp_path: Path) -> None:
    path = write_mlp(tmp_path / "net.onnx", 5)
    y = outputs(path, np.array([[0.9, 0.4], [-0.9, 0.4]]))[:, 0]
    better, sign = (0.9, ">=") if y[0] < y[1] else (-0.9, "<=")
    half = f"(and ({sign} X_0 {better}) (<= Y_0 {y.min() + 1e-3}))"
    never = "(and (<= X_0 0.1) (<= Y_0 -1000.0))"
    found = answer(path, property_text(BOX, 3, f"(assert (or {never} {half}))"))
    assert found.outcome is SatOutcome.SAT
    assert answer(path, property_text(BOX, 3, f"(assert (or {never} (and {never[5:-1]})))")).outcome is SatOutcome.UNSAT


@pytest.mark.parametrize(
    ("assertion", "why"),
    [
        ("(assert (>= X_0 2.0))", "the lower bound 2.0 of X_0 is above its upper bound 1.0"),
        ("(assert (and (< X_1 0) (> X_1 0)))", "X_1 can neither be 0.0 nor lie beside it"),
        ("(assert (= X_1 0.75))", "the lower bound 0.75 of X_1 is above its upper bound 0.5"),
        ("(assert (or (>= X_0 2.0) (<= X_0 -2.0)))", "the lower bound 2.0 of X_0"),
        ("(assert (>= (+ X_0 X_1) 1.6))", "-1 * X_0 + -1 * X_1 <= -1.6 holds nowhere"),
        ("(assert (<= 1 0))", "0 <= -1 holds nowhere"),
        ("(assert false)", "false by itself"),
    ],
)
def test_an_empty_input_set_is_said(assertion: str, why: str) -> None:
    asked = Property.of(parse(property_text(BOX, 3, f"{assertion}(assert (<= Y_0 0))")))
    assert asked.cases == ()
    assert asked.note.startswith("the input set is empty")
    assert why in asked.note
    assert Property.of(parse(property_text(BOX, 3, "(assert (>= (+ X_0 X_1) 1.5))"))).note == ""


def test_an_input_without_bounds_is_named() -> None:
    text = property_text(BOX, 3, "").replace("(assert (<= X_1 0.5))", "")
    with pytest.raises(InputError, match="input X_1 has no upper bound"):
        Property.of(parse(text))


def test_no_input_at_all_is_unsat(tmp_path: Path) -> None:
    path = write_mlp(tmp_path / "net.onnx", 0)
    assert answer(path, property_text(BOX, 3, "(assert (>= X_0 2.0))(assert (<= Y_0 0))")).outcome is SatOutcome.UNSAT


def test_without_outputs_any_input_is_unsafe(tmp_path: Path) -> None:
    path = write_mlp(tmp_path / "net.onnx", 0)
    assert answer(path, property_text(BOX, 3, "")).outcome is SatOutcome.SAT


def test_a_tie_counts_unless_it_is_strict(tmp_path: Path) -> None:
    path = write_mlp(tmp_path / "net.onnx", 0)
    point = [(0.25, 0.25), (0.125, 0.125)]
    y = float(outputs(path, np.array([[0.25, 0.125]]))[0, 0])
    assert answer(path, property_text(point, 3, f"(assert (<= Y_0 {y!r}))")).outcome is SatOutcome.SAT
    assert answer(path, property_text(point, 3, f"(assert (< Y_0 {y!r}))")).outcome is not SatOutcome.SAT


def test_time_is_up(tmp_path: Path) -> None:
    path = write_mlp(tmp_path / "net.onnx", 7, (2, 30, 30, 30, 3))
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 60), np.linspace(-0.5, 0.5, 60)), -1).reshape(-1, 2)
    low = float(outputs(path, grid)[:, 0].min())
    found = answer(path, property_text(BOX, 3, f"(assert (<= Y_0 {low - 0.01}))"), timeout=0.0)
    assert found.outcome is SatOutcome.TIMEOUT


def test_the_result_file_is_that_of_vnn_comp(tmp_path: Path) -> None:
    path = write_mlp(tmp_path / "net.onnx", 0)
    lines = str(answer(path, property_text([(0.25, 0.25), (0.125, 0.125)], 3, ""))).splitlines()
    assert lines[:3] == ["sat", "((X_0 0.25)", "(X_1 0.125)"]
    assert lines[3].startswith("(Y_0 ")
    assert lines[-1].endswith("))")
