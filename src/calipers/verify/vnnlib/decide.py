"""Whether a property of an ONNX network is satisfiable, in the words and the formats of VNN-COMP."""

import time
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from calipers.core.devices import CPU, moved, require_double, standard_kernels
from calipers.core.results import Termination, Verdict, VerificationResult
from calipers.graph.from_onnx import OnnxNetwork
from calipers.verify.complete import Complete
from calipers.verify.stages import WITHIN_ROUNDING
from calipers.verify.verifier import Limits
from calipers.verify.vnnlib.certify import certify
from calipers.verify.vnnlib.property import Case, Property
from calipers.verify.vnnlib.reduction import Reduction, boxes, reduce_property, require_fit
from calipers.verify.vnnlib.ties import without_impossible

# How much deeper than a boundary to look for unsafe inputs, of 1 and of the bound.
_DEPTH = 1e-6


class SatOutcome(StrEnum):
    """sat: some input is unsafe. unsat: none is. timeout: not known when time was up. unknown: nothing left to try."""

    SAT = "sat"
    UNSAT = "unsat"
    TIMEOUT = "timeout"
    UNKNOWN = "unknown"


@dataclass(frozen=True, eq=False)
class Unsafe:
    """An input of a case, and the output that onnxruntime gives it, for which a clause holds; both flat."""

    x: Float32[np.ndarray, " inputs"]
    y: Float32[np.ndarray, " outputs"]

    def __str__(self) -> str:
        """As VNN-COMP writes it."""
        values = [f"(X_{i} {float(v)!r})" for i, v in enumerate(self.x)]
        values += [f"(Y_{i} {float(v)!r})" for i, v in enumerate(self.y)]
        return "(" + "\n".join(values) + ")"


@dataclass(frozen=True, eq=False)
class Answer:
    """seconds: from the loaded files to the answer. reason: why it is unknown, where more is known than that."""

    outcome: SatOutcome
    seconds: float
    unsafe: Unsafe | None = None
    reason: str = ""

    def __str__(self) -> str:
        """The result file of VNN-COMP: the outcome, then the counterexample."""
        return self.outcome.value if self.unsafe is None else f"{self.outcome.value}\n{self.unsafe}"


def decide_with_evidence(
    network: OnnxNetwork, asked: Property, limits: Limits, certificate: Path, device: torch.device = CPU
) -> Answer:
    """As `decide`; unsat is said only where the evidence, written to `certificate`, passes the checker."""
    answer = decide(network, asked, limits, device)
    if answer.outcome is not SatOutcome.UNSAT:
        return answer
    written = certify(network.graph, asked, limits, certificate)
    missing = written.count(None)
    if not missing:
        return answer
    reason = (
        f"the search says unsat, but for {missing} of {len(written)} cases no evidence was found within "
        f"{limits.timeout:g} s that the checker accepts: its bounds are looser than the search's"
    )
    return replace(answer, outcome=SatOutcome.UNKNOWN, reason=reason)


def decide(network: OnnxNetwork, asked: Property, limits: Limits, device: torch.device = CPU) -> Answer:
    """Search within limits.timeout for all cases together. sat is said of what onnxruntime confirms only.

    device: where bounds and attacks are computed.
    Raises InputError if the property belongs to another network, or the device has no double precision.
    """
    start = time.monotonic()
    end = start + limits.timeout
    open_: set[SatOutcome] = set()
    require_fit(network.graph, asked)
    require_double(device, "the search")
    if asked.cases:
        budget = limits.budget.until(end)
        asked = without_impossible(network.graph, boxes(network.graph, asked.cases), asked, budget)
    for reduction in reduce_property(network.graph, asked):
        result, found = _searched(reduction, limits.until(end), device)
        unsafe = _confirmed(network, found)
        if unsafe is None and found:
            deeper = reduce_property(network.graph, _deeper(asked, found))
            again = [one for part in deeper for one in _searched(part, limits.until(end), device)[1]]
            # What is unsafe by more is so as written.
            unsafe = _confirmed(network, again)
        if unsafe is not None:
            return Answer(SatOutcome.SAT, time.monotonic() - start, unsafe)
        for verdict, termination in zip(result.verdicts, result.terminations, strict=True):
            if verdict is not Verdict.VERIFIED:
                open_.add(SatOutcome.TIMEOUT if termination is Termination.TIMEOUT else SatOutcome.UNKNOWN)
    outcome = next((o for o in (SatOutcome.TIMEOUT, SatOutcome.UNKNOWN) if o in open_), SatOutcome.UNSAT)
    return Answer(outcome, time.monotonic() - start, reason=WITHIN_ROUNDING if outcome is SatOutcome.UNKNOWN else "")


def _searched(
    reduction: Reduction, limits: Limits, device: torch.device
) -> tuple[VerificationResult, list[tuple[Case, Tensor]]]:
    """The answers, and candidates for unsafe inputs of cases."""
    with standard_kernels(device):
        result = Complete(limits).verify(reduction.graph.to(device=device), moved(reduction.problem, device))
    found = zip(reduction.cases, result.witness, strict=True)
    return result, [(case, witness) for case, witness in found if witness is not None]


def _confirmed(network: OnnxNetwork, found: list[tuple[Case, Tensor]]) -> Unsafe | None:
    return next(filter(None, (replay(network, case, witness) for case, witness in found)), None)


def _deeper(asked: Property, found: list[tuple[Case, Tensor]]) -> Property:
    """The cases of candidates that lie on a boundary, where strict rows do not hold: what is unsafe by more than that.

    An input that is unsafe by so much need not exist; that one does would be news.
    """
    cases = []
    for case, _ in found:
        clauses = tuple(replace(c, bound=c.bound - _DEPTH * (1 + np.abs(c.bound))) for c in case.clauses)
        cases.append(replace(case, clauses=clauses))
    return replace(asked, cases=tuple(cases))


def replay(network: OnnxNetwork, case: Case, x: Tensor) -> Unsafe | None:
    """The nearest input of the case that single precision knows, if onnxruntime finds it unsafe.

    Where single precision knows none between the limits, one beside them stands for it; then the limits themselves
    have to be unsafe as well, in double precision.
    """
    inside = _inside(case, x.flatten().cpu().double().numpy())
    shape = network.graph.input_shape
    y = network.run(torch.from_numpy(inside).reshape(1, *shape)).flatten().numpy()
    if not _unsafe(case, inside.astype(np.float64), y.astype(np.float64)):
        return None
    if not _lies_within(case, inside).all():
        exact = network.graph.to(torch.float64)
        for towards in (-np.inf, np.inf):
            near = np.clip(np.nextafter(inside, np.float32(towards)).astype(np.float64), case.lower, case.upper)
            value = exact.outputs(torch.from_numpy(near).reshape(1, *shape)).flatten().numpy()
            if not _unsafe(case, near, value):
                return None
    return Unsafe(inside, y)


def _unsafe(case: Case, x: np.ndarray, y: np.ndarray) -> bool:
    return any(clause.holds(x, y) for clause in case.clauses)


def _lies_within(case: Case, x: np.ndarray) -> np.ndarray:
    """Of every input, whether it keeps to the limits as written."""
    low = np.where(case.above, x > case.lower, x >= case.lower)
    return low & np.where(case.below, x < case.upper, x <= case.upper)


def _inside(case: Case, x: np.ndarray) -> Float32[np.ndarray, " inputs"]:
    near = np.clip(x, case.lower, case.upper).astype(np.float32)
    up, down = (np.nextafter(near, np.float32(side)) for side in (np.inf, -np.inf))
    found = near
    for other in (down, up):
        found = np.where(_lies_within(case, found) | ~_lies_within(case, other), found, other)
    # Where no number of single precision lies between the bounds, the nearest stands for them.
    return found
