"""The exact minimum of a linear functional of a small network over a box, as a mixed-integer program (HiGHS)."""

import numpy as np
import torch
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor

from calipers.bounds.interval import interval_bounds
from calipers.bounds.window import Windows
from calipers.core.sets import Box
from calipers.graph import ops
from calipers.graph.graph import Graph


class Program:
    """Variables with bounds, constraints low <= row . variables <= high; expressions are (matrix, constant)."""

    def __init__(self) -> None:
        self.low: list[float] = []
        self.high: list[float] = []
        self.integer: list[int] = []
        self.rows: list[tuple[np.ndarray, float, float]] = []

    def variables(self, low: np.ndarray, high: np.ndarray, integer: int = 0) -> tuple[np.ndarray, np.ndarray]:
        first = len(self.low)
        self.low += low.tolist()
        self.high += high.tolist()
        self.integer += [integer] * len(low)
        matrix = np.zeros((len(low), len(self.low)))
        matrix[:, first:] = np.eye(len(low))
        return matrix, np.zeros(len(low))

    def require(self, row: np.ndarray, low: float, high: float) -> None:
        self.rows.append((row, low, high))

    def minimum(self, row: np.ndarray) -> float:
        count = len(self.low)
        padded = (
            np.stack([np.pad(r, (0, count - len(r))) for r, _, _ in self.rows]) if self.rows else np.zeros((0, count))
        )
        limits = LinearConstraint(padded, [low for _, low, _ in self.rows], [high for *_, high in self.rows])
        found = milp(
            np.pad(row, (0, count - len(row))),
            integrality=self.integer,
            bounds=Bounds(self.low, self.high),
            constraints=limits,
        )
        assert found.success, found.message
        return float(found.fun)


def exact_minimum(graph: Graph, lower: Tensor, upper: Tensor, row: Tensor) -> float:
    """min of row . f(x) over the box lower <= x <= upper of shape (*input shape)."""
    program = Program()
    values = [program.variables(lower.flatten().numpy(), upper.flatten().numpy())]
    bounds = interval_bounds(graph, Box(lower[None], upper[None]))
    for node in graph.nodes[1:]:
        matrix, constant = _widened(values[node.inputs[0]], len(program.low))
        given = bounds[node.inputs[0]]
        if isinstance(node.op, ops.Relu):
            values.append(_maximum(program, matrix, constant, given.lower, given.upper))
        elif isinstance(node.op, ops.MaxPool2d):
            values.append(_pool(program, node.op, matrix, constant, graph.nodes[node.inputs[0]].shape, given))
        elif isinstance(node.op, ops.Add):
            other, shift = _widened(values[node.inputs[1]], len(program.low))
            values.append((matrix + other, constant + shift))
        else:  # affine
            shape = graph.nodes[node.inputs[0]].shape
            zero = node.op.evaluate(torch.zeros(1, *shape, dtype=torch.float64)).flatten(1)

            def linear(columns: np.ndarray, op=node.op, shape=shape, zero=zero) -> np.ndarray:
                stacked = torch.from_numpy(np.ascontiguousarray(columns.T)).reshape(-1, *shape)
                return (op.evaluate(stacked).flatten(1) - zero).numpy().T

            values.append((linear(matrix), linear(constant[:, None])[:, 0] + zero[0].numpy()))
    matrix, constant = _widened(values[-1], len(program.low))
    return program.minimum(row.numpy() @ matrix) + float(row.numpy() @ constant)


def _widened(expression: tuple[np.ndarray, np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
    matrix, constant = expression
    return np.pad(matrix, ((0, 0), (0, count - matrix.shape[1]))), constant


def _maximum(program: Program, matrix: np.ndarray, constant: np.ndarray, lower: Tensor, upper: Tensor):
    low, high = lower.flatten().numpy(), upper.flatten().numpy()
    count = len(program.low)
    result, shift = program.variables(np.maximum(low, 0), np.maximum(high, 0))
    for i in range(len(low)):
        _one_of(
            program, result[i], [(matrix[i, :count], constant[i], low[i]), (np.zeros(count), 0.0, 0.0)], max(high[i], 0)
        )
    return result, shift


def _pool(program: Program, op: ops.MaxPool2d, matrix, constant, shape, given):
    windows = Windows.of(op, given)
    numbered = torch.arange(int(np.prod(shape)), dtype=torch.float64).reshape(1, *shape)
    index = Windows.of(op, type(given)(numbered, numbered)).lower[0, : windows.real].flatten(1)
    low = windows.lower[0].flatten(1).numpy()
    high = windows.upper[0].flatten(1).amax(0).numpy()
    count = len(program.low)
    result, shift = program.variables(low.max(0), high)
    for i in range(len(high)):
        pixels = [
            (matrix[int(k), :count], constant[int(k)], low[j, i])
            for j, k in enumerate(index[:, i].tolist())
            if np.isfinite(low[j, i])
        ]
        if op.floor is not None:
            pixels.append((np.zeros(count), op.floor, op.floor))
        _one_of(program, result[i], pixels, high[i])
    return result, shift


def _one_of(program: Program, result: np.ndarray, pixels: list, high: float) -> None:
    """result = the largest of the pixels: above all, and one binary says which it equals."""
    choice, _ = program.variables(np.zeros(len(pixels)), np.ones(len(pixels)), 1)
    program.require(choice.sum(0), 1, 1)
    for (row, constant, low), chosen in zip(pixels, choice, strict=True):
        difference = np.pad(result, (0, len(chosen) - len(result))) - np.pad(row, (0, len(chosen) - len(row)))
        program.require(difference, constant, np.inf)
        program.require(difference + (high - low) * chosen, -np.inf, constant + high - low)
