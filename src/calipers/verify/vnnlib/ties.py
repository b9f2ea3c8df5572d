"""Comparisons that intervals of the outputs decide at once, and nothing else can.

Strict ones where the bound is attained, such as y < 0 of a ReLU's output, or y > 1 where y = 1 is the largest: a proof
by positive margins cannot tell them from the tie, and the ends of intervals are exact there. And those with numbers
beyond single precision, in which margins are infinite.
"""

from dataclasses import replace

import numpy as np
import torch

from calipers.bounds import FUSED, OutOfTimeError, WorkBudget
from calipers.bounds.rounding import interval_rows
from calipers.core.intervals import IntervalBounds
from calipers.core.problem import Specification
from calipers.core.sets import Box
from calipers.graph.graph import Graph
from calipers.verify.vnnlib.property import Clause, Property


def without_impossible(graph: Graph, boxes: Box, asked: Property, budget: WorkBudget) -> Property:
    """The property without clauses of which such a row can never hold, and without cases that have no clause left.

    boxes: one for each case, rounded outwards. Unchanged where time is up, or where there is no such row.
    """
    telling = [any(_telling(clause).any() for clause in case.clauses) for case in asked.cases]
    if not any(telling):
        return asked
    index = torch.tensor(telling).nonzero()[:, 0]
    try:
        with torch.no_grad():
            last = FUSED.propagate(graph, boxes[index], budget).bounds[-1]
    except OutOfTimeError:
        return asked
    outputs = dict(zip(index.tolist(), zip(last.lower.flatten(1), last.upper.flatten(1), strict=True), strict=True))
    cases = []
    for number, case in enumerate(asked.cases):
        left = case
        if number in outputs:
            ends = IntervalBounds(*(side.unsqueeze(0) for side in outputs[number]))
            left = replace(case, clauses=tuple(clause for clause in case.clauses if not _impossible(clause, ends)))
        if left.clauses:
            cases.append(left)
    return replace(asked, cases=tuple(cases))


def _telling(clause: Clause) -> np.ndarray:
    """Rows over outputs alone that are strict, or large."""
    large = np.maximum(np.abs(clause.outputs).max(1), np.abs(clause.bound)) > np.finfo(np.float32).max / 2
    return (clause.strict | large) & ~clause.inputs.any(1)


def _impossible(clause: Clause, outputs: IntervalBounds) -> bool:
    rows = _telling(clause)
    C, d = (torch.from_numpy(part[rows]).unsqueeze(0) for part in (clause.outputs, -clause.bound))
    least = interval_rows(Specification(C, d), outputs)[0]
    strict = torch.from_numpy(clause.strict[rows])
    return bool(torch.where(strict, least >= 0, least > 0).any())
