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
        f"{limits.timeout:g} s that the checker accepts: it charges more for rounding than the search does"
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
        left = max(0.0, end - time.monotonic())
        verifier = Complete(replace(limits, timeout=left, total=left))
        with standard_kernels(device):
            result = verifier.verify(reduction.graph.to(device=device), moved(reduction.problem, device))
        unsafe = _confirmed(network, reduction, result)
        if unsafe is not None:
            return Answer(SatOutcome.SAT, time.monotonic() - start, unsafe)
        for verdict, termination in zip(result.verdicts, result.terminations, strict=True):
            if verdict is not Verdict.VERIFIED:
                open_.add(SatOutcome.TIMEOUT if termination is Termination.TIMEOUT else SatOutcome.UNKNOWN)
    outcome = next((o for o in (SatOutcome.TIMEOUT, SatOutcome.UNKNOWN) if o in open_), SatOutcome.UNSAT)
    return Answer(outcome, time.monotonic() - start, reason=WITHIN_ROUNDING if outcome is SatOutcome.UNKNOWN else "")


def _confirmed(network: OnnxNetwork, reduction: Reduction, result: VerificationResult) -> Unsafe | None:
    for case, witness in zip(reduction.cases, result.witness, strict=True):
        if witness is not None:
            unsafe = replay(network, case, witness)
            if unsafe is not None:
                return unsafe
    return None


def replay(network: OnnxNetwork, case: Case, x: Tensor) -> Unsafe | None:
    """The nearest input of the case that single precision knows, if onnxruntime finds it unsafe."""
    inside = _inside(case, x.flatten().cpu().double().numpy())
    y = network.run(torch.from_numpy(inside).reshape(1, *network.graph.input_shape)).flatten().numpy()
    holds = any(clause.holds(inside.astype(np.float64), y.astype(np.float64)) for clause in case.clauses)
    return Unsafe(inside, y) if holds else None


def _inside(case: Case, x: np.ndarray) -> Float32[np.ndarray, " inputs"]:
    near = np.clip(x, case.lower, case.upper).astype(np.float32)
    up, down = (np.nextafter(near, np.float32(side)) for side in (np.inf, -np.inf))
    raised = np.where(near < case.lower, up, near)
    lowered = np.where(raised > case.upper, down, raised)
    # Where no number of single precision lies between the bounds, the nearest stands for them.
    return np.where((lowered >= case.lower) & (lowered <= case.upper), lowered, near)
