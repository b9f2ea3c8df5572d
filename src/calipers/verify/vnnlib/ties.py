"""Strict comparisons where the bound is attained: y < 0 of a ReLU's output, y > 1 where y = 1 is the largest.

A proof by positive margins cannot tell them from the tie; intervals of the outputs, whose ends are exact there, can.
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
    """The property without clauses of which a strict row can never hold, and without cases that have no clause left.

    boxes: one for each case, rounded outwards. Unchanged where time is up, or where no row is strict.
    """
    strict = [any(_telling(clause).any() for clause in case.clauses) for case in asked.cases]
    if not any(strict):
        return asked
    index = torch.tensor(strict).nonzero()[:, 0]
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
    """Strict rows over outputs alone."""
    return clause.strict & ~clause.inputs.any(1)


def _impossible(clause: Clause, outputs: IntervalBounds) -> bool:
    rows = _telling(clause)
    C, d = (torch.from_numpy(part[rows]).unsqueeze(0) for part in (clause.outputs, -clause.bound))
    return bool((interval_rows(Specification(C, d), outputs) >= 0).any())
