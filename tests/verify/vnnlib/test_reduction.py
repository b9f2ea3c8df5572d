"""A property as the last layers of a network means what the property says."""

from pathlib import Path

import numpy as np
import pytest
import torch

from calipers.core.errors import InputError
from calipers.graph.from_onnx import load_onnx_network
from calipers.verify.vnnlib.property import Property
from calipers.verify.vnnlib.reduction import reduce_property
from calipers.verify.vnnlib.syntax import parse
from tests.verify.vnnlib.families import property_text, write_mlp

BOX = [(-1.0, 1.0), (0.0, 0.5)]
UNSAFE = [
    "(assert (<= Y_0 Y_1))",
    "(assert (or (>= Y_0 Y_1) (>= Y_2 Y_1)))",
    "(assert (<= Y_0 Y_1))(assert (<= Y_2 Y_1))",
    "(assert (or (and (<= Y_0 0.2) (>= Y_1 -1)) (and (<= Y_2 Y_0) (<= Y_2 Y_1) (>= Y_0 0))))",
    "(assert (>= (+ Y_0 X_1) (* 2.0 X_0)))",
    "(assert (<= (+ X_0 X_1) 0.3))(assert (>= Y_0 0.1))",
    "(assert (== Y_0 Y_1))",
]


@pytest.mark.parametrize("unsafe", UNSAFE)
def test_an_output_is_positive_where_its_clause_fails(unsafe: str, tmp_path: Path) -> None:
    graph = load_onnx_network(write_mlp(tmp_path / "net.onnx", 1)).graph.to(torch.float64)
    asked = Property.of(parse(property_text(BOX, 3, unsafe)))
    (reduction,) = reduce_property(graph, asked)
    x = torch.rand(500, 2, dtype=torch.float64) * torch.tensor([2.0, 0.5]) - torch.tensor([1.0, 0.0])
    y = graph.evaluate(x)
    safe = reduction.graph.to(torch.float64).evaluate(x) > 0
    (case,) = reduction.cases
    for i in range(len(x)):
        said = [not clause.holds(x[i].numpy(), y[i].numpy()) for clause in case.clauses]
        assert safe[i].tolist() == said


def test_boxes_of_a_disjunction_over_inputs_are_cases(tmp_path: Path) -> None:
    graph = load_onnx_network(write_mlp(tmp_path / "net.onnx", 2)).graph
    either = "(assert (or (and (<= X_0 -0.5) (<= Y_0 0)) (and (>= X_0 0.5) (<= Y_0 0)) (and (>= X_0 2) (<= Y_1 0))))"
    asked = Property.of(parse(property_text(BOX, 3, either)))
    assert [(case.lower[0], case.upper[0]) for case in asked.cases] == [(-1.0, -0.5), (0.5, 1.0)]
    (reduction,) = reduce_property(graph, asked)
    assert len(reduction.problem) == 2
    different = either.replace("(>= X_0 0.5) (<= Y_0 0)", "(>= X_0 0.5) (<= Y_2 0)")
    assert len(reduce_property(graph, Property.of(parse(property_text(BOX, 3, different))))) == 2


def test_boxes_are_rounded_outwards(tmp_path: Path) -> None:
    graph = load_onnx_network(write_mlp(tmp_path / "net.onnx", 2)).graph
    box = [(0.1, 0.3), (1 / 3, 0.7)]
    (reduction,) = reduce_property(graph, Property.of(parse(property_text(box, 3, "(assert (<= Y_0 0))"))))
    found = reduction.problem.input_set.box()
    lower, upper = (side.double().numpy()[0] for side in (found.lower, found.upper))
    assert bool((lower <= [0.1, 1 / 3]).all())
    assert bool((upper >= [0.3, 0.7]).all())
    assert np.abs(lower - [0.1, 1 / 3]).max() < 1e-7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (property_text(BOX[:1], 3, "(assert (<= Y_0 0))"), "speaks of 1 inputs and 3 outputs, the network has 2 and 3"),
        (
            property_text(BOX, 3, "(assert (<= Y_0 0))").replace("(assert (>= X_1 0.0))", ""),
            r"input X_1 has no lower bound \(it lies in \[-inf, 0.5\]\)",
        ),
    ],
)
def test_bad_properties(text: str, message: str, tmp_path: Path) -> None:
    graph = load_onnx_network(write_mlp(tmp_path / "net.onnx", 2)).graph
    with pytest.raises(InputError, match=message):
        reduce_property(graph, Property.of(parse(text)))


def test_too_many_combinations_are_refused() -> None:
    either = "(assert (or (<= Y_0 0) (<= Y_1 0)))" * 20
    with pytest.raises(InputError, match="combine to 1048576 cases"):
        Property.of(parse(property_text(BOX, 3, either)))
