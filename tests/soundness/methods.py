"""All that claims something of a network: by name, whether it does."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from calipers.bounds import FORWARD, FUSED, METHODS, OutOfTimeError, WorkBudget
from calipers.bounds.precision import in_double
from calipers.core.errors import InputError
from calipers.core.problem import Problem, Specification
from calipers.core.results import Verdict
from calipers.core.sets import InputSet, is_box
from calipers.graph.from_onnx import OnnxNetwork
from calipers.graph.graph import Graph
from calipers.verify import Certifier, Complete, Limits, Milp
from calipers.verify.branching.box_bounds import bound_boxes, bound_boxes_forward
from calipers.verify.branching.input_search import InputSearch
from calipers.verify.branching.split_search import SplitSearch
from calipers.verify.vnnlib import Property, SatOutcome, decide
from tests.soundness.claims import Question

Claim = Callable[[Graph, Problem, float], bool]


def bounds_claims(
    graph: Graph, sets: InputSet, specification: Specification, slow: bool = True
) -> dict[str, Bool[Tensor, "batch rows"]]:
    """What every method claims of every row, and the bounds behind the search over inputs; some in double precision.

    slow: also `optimised`, which takes as long as all others together.
    """
    claimed = {}
    with torch.no_grad():
        for name in METHODS:
            if name == "optimised" and not slow:
                continue
            found = METHODS[name].margins(graph, sets, specification, WorkBudget())
            claimed[name] = found.lower > 0
        if is_box(sets):
            box = sets.box()
            walk = bound_boxes(FUSED, graph, box, specification, WorkBudget())
            quick = bound_boxes_forward(FORWARD, graph, box, specification, WorkBudget())
            claimed["boxes"], claimed["boxes forward"] = walk.lower > 0, quick.lower > 0
        asked = Specification(specification.C.double(), specification.d.double())
        for name in ("ibp", "fused", "forward"):
            found = METHODS[name].margins(graph.to(torch.float64), in_double(sets), asked, WorkBudget())
            claimed[f"double {name}"] = found.lower > 0
    return claimed


def _input_search(graph: Graph, problem: Problem, seconds: float) -> bool:
    search = InputSearch()
    if not search.suits(problem.input_set):
        return False
    with torch.no_grad():
        return search.run(graph, problem, _rows(problem), _until(seconds)).proven


def _split_search(graph: Graph, problem: Problem, seconds: float) -> bool:
    with torch.no_grad():
        return SplitSearch().run(graph, problem, _rows(problem), _until(seconds)).proven


def _complete(graph: Graph, problem: Problem, seconds: float) -> bool:
    return Complete(Limits(timeout=seconds)).verify(graph, problem).verdicts[0] is Verdict.VERIFIED


def _milp(graph: Graph, problem: Problem, seconds: float) -> bool:
    try:
        return Milp(Limits(timeout=seconds)).verify(graph, problem).verdicts[0] is Verdict.VERIFIED
    except InputError:  # networks and sets that have no program
        return False


def _certificate(graph: Graph, problem: Problem, seconds: float) -> bool:
    """Only what the checker accepts is given as a certificate."""
    return Certifier(Limits(timeout=seconds)).certify(graph, problem, {}) is not None


SEARCHES: dict[str, Claim] = {
    "input search": _input_search,
    "split search": _split_search,
    "complete": _complete,
    "milp": _milp,
    "certificate": _certificate,
}


def search_claims(
    network: OnnxNetwork, asked: Question, image: int, row: int, folder: Path, seconds: float
) -> dict[str, Bool[Tensor, "batch rows"]]:
    """What every search claims of one row on one set, and a property in a file.

    A search that is out of time claims nothing: a slow machine makes no failure, it only tries less.
    """
    one = asked.specification[[image]]
    one = Specification(one.C[:, row : row + 1], one.d[:, row : row + 1])
    problem = Problem("net", (0,), asked.sets[[image]], one)
    said = {name: _in_time(claim, network.graph, problem, seconds) for name, claim in SEARCHES.items()}
    said["vnnlib"] = _vnnlib(network, problem, folder, seconds)
    claimed = {name: torch.zeros_like(asked.broken) for name in said}
    for name, yes in said.items():
        claimed[name][image, row] = yes
    return claimed


def _in_time(claim: Claim, graph: Graph, problem: Problem, seconds: float) -> bool:
    try:
        return claim(graph, problem, seconds)
    except OutOfTimeError:
        return False


def _vnnlib(network: OnnxNetwork, problem: Problem, folder: Path, seconds: float) -> bool:
    """Whether the one row of the one instance is `unsat` as a property in a file: C y + d <= 0."""
    box = problem.input_set.box()
    C, d = problem.specification.C[0, 0].double().tolist(), float(problem.specification.d[0, 0].double())
    sides = zip(box.lower.flatten().double().tolist(), box.upper.flatten().double().tolist(), strict=True)
    lines = [f"(declare-const X_{i} Real)" for i in range(box.lower.numel())]
    lines += [f"(declare-const Y_{i} Real)" for i in range(len(C))]
    for i, (low, high) in enumerate(sides):
        lines += [f"(assert (>= X_{i} {_decimal(low)}))", f"(assert (<= X_{i} {_decimal(high)}))"]
    terms = " ".join(f"(* {_decimal(c)} Y_{k})" for k, c in enumerate(C) if c)
    lines.append(f"(assert (<= (+ {terms} 0.0) {_decimal(-d)}))")
    file = folder / "row.vnnlib"
    file.write_text("\n".join(lines))
    return decide(network, Property.load(file), Limits(timeout=seconds)).outcome is SatOutcome.UNSAT


def _decimal(value: float) -> str:
    """All digits of a float, without an exponent."""
    return np.format_float_positional(value, trim="0")


def _rows(problem: Problem) -> list[int]:
    return list(range(problem.specification.d.shape[1]))


def _until(seconds: float) -> WorkBudget:
    return WorkBudget(deadline=time.monotonic() + seconds)
