"""One unit of work: from live objects to records and arrays, without side effects."""

import time

import numpy as np
import torch
from torch import Tensor

from calipers.attacks import run_attack, run_minimum_norm
from calipers.core.problem import Problem, Specification
from calipers.core.records import Kind, Outcome, RunSpec, SampleRecord
from calipers.core.results import (
    AttackResult,
    MinimumNormResult,
    Termination,
    Verdict,
    VerificationResult,
)
from calipers.core.seeds import derive_seed
from calipers.evaluate.plan import Unit
from calipers.evaluate.subject import Subject
from calipers.verify import run_verifier

Arrays = dict[str, np.ndarray]
_OUTCOMES = {
    Verdict.VERIFIED: Outcome.VERIFIED,
    Verdict.FALSIFIED: Outcome.FALSIFIED,
    Verdict.UNKNOWN: Outcome.UNKNOWN,
}


def do(unit: Unit, spec: RunSpec, subject: Subject) -> tuple[list[SampleRecord], Arrays | None]:
    """The records and arrays of one unit; the same for the same specification whenever it runs."""
    start = time.perf_counter()
    logits = subject.logits(unit.samples)
    labels = subject.labels[unit.samples]
    margins = Specification.classified_as(labels, logits.shape[1]).margins(logits).amin(1)
    if unit.kind is Kind.CLEAN:
        seconds = (time.perf_counter() - start) / unit.count
        records = [_clean(unit, spec, i, labels, logits, margins, seconds) for i in range(unit.count)]
        return records, {"image": subject.images[unit.samples].numpy()}
    correct = (margins > 0).nonzero()[:, 0]
    wrong = [_misclassified(unit, i, labels, logits, margins, spec) for i in (margins <= 0).nonzero()[:, 0].tolist()]
    adversarial = subject.images[unit.samples].clone()
    records = []
    if len(correct) and unit.method in subject.nearest and unit.kind is Kind.ATTACK:
        nearest = subject.nearest_problem(spec, correct + unit.first)
        seed = derive_seed(spec.seed, unit.method)
        found = run_minimum_norm(subject.nearest[unit.method], subject.model, nearest, seed)
        adversarial[correct] = found.adversarial
        records = [_attacked(unit, i, int(k), labels, found) for i, k in enumerate(correct)]
    elif len(correct):
        assert unit.epsilon is not None
        problem = subject.problem(spec, correct + unit.first, unit.epsilon)
        if unit.kind is Kind.ATTACK:
            seed = derive_seed(spec.seed, unit.method, unit.epsilon)
            attacked = run_attack(subject.attacks[unit.method], subject.model, problem, seed)
            adversarial[correct] = attacked.adversarial
            records = [_attacked(unit, i, int(k), labels, attacked) for i, k in enumerate(correct)]
        else:
            assert subject.graph is not None
            proven = run_verifier(subject.verifiers[unit.method], subject.model, subject.graph, problem)
            records = [_verified(unit, i, int(k), labels, proven, problem, spec) for i, k in enumerate(correct)]
    arrays = {"adversarial": adversarial.numpy()} if unit.kind is Kind.ATTACK else None
    return sorted([*records, *wrong], key=lambda record: record.sample_id), arrays


def _clean(
    unit: Unit, spec: RunSpec, i: int, labels: Tensor, logits: Tensor, margins: Tensor, seconds: float
) -> SampleRecord:
    return SampleRecord(
        sample_id=unit.first + i,
        label=int(labels[i]),
        kind=unit.kind,
        method=unit.method,
        epsilon=None,
        outcome=Outcome.CORRECT if margins[i] > 0 else Outcome.WRONG,
        termination=Termination.COMPLETED,
        margin=float(margins[i]),
        distance=None,
        prediction=int(logits[i].argmax()),
        forwards=1,
        backwards=0,
        seconds=seconds,
        seed=spec.seed,
    )


def _misclassified(unit: Unit, i: int, labels: Tensor, logits: Tensor, margins: Tensor, spec: RunSpec) -> SampleRecord:
    """A sample that is wrong as it is needs no attack and no proof: it is its own counterexample."""
    attack = unit.kind is Kind.ATTACK
    return SampleRecord(
        sample_id=unit.first + i,
        label=int(labels[i]),
        kind=unit.kind,
        method=unit.method,
        epsilon=unit.epsilon,
        outcome=Outcome.BROKEN if attack else Outcome.FALSIFIED,
        termination=Termination.COMPLETED,
        margin=float(margins[i]),
        distance=0.0 if attack else None,
        prediction=int(logits[i].argmax()),
        forwards=0,
        backwards=0,
        seconds=0.0,
        seed=spec.seed,
        message="misclassified as it is",
    )


def _attacked(unit: Unit, i: int, k: int, labels: Tensor, result: AttackResult | MinimumNormResult) -> SampleRecord:
    broken = bool(result.success[i])
    return SampleRecord(
        sample_id=unit.first + k,
        label=int(labels[k]),
        kind=unit.kind,
        method=unit.method,
        epsilon=unit.epsilon,
        outcome=Outcome.BROKEN if broken else Outcome.SURVIVED,
        termination=result.termination,
        margin=float(result.margin[i]),
        distance=float(result.distance[i]) if broken else None,
        prediction=int(result.prediction[i]),
        forwards=int(result.forwards[i]),
        backwards=int(result.backwards[i]),
        seconds=result.seconds / len(result.margin),
        seed=result.seed,
        message="; ".join(remark for remark, held in result.remarks.items() if held[i]),
    )


def _verified(
    unit: Unit, i: int, k: int, labels: Tensor, result: VerificationResult, problem: Problem, spec: RunSpec
) -> SampleRecord:
    witness, termination = result.witness[i], result.terminations[i]
    lowest = float(result.lower[i].nan_to_num(-torch.inf, torch.inf, -torch.inf).min())
    return SampleRecord(
        sample_id=unit.first + k,
        label=int(labels[k]),
        kind=unit.kind,
        method=unit.method,
        epsilon=unit.epsilon,
        outcome=_OUTCOMES[result.verdicts[i]],
        termination=termination,
        margin=lowest if np.isfinite(lowest) else None,
        distance=None if witness is None else float(problem[i : i + 1].input_set.distance(witness)),
        prediction=None,
        forwards=0,
        backwards=0,
        seconds=result.seconds[i],
        seed=spec.seed,
        message="" if termination is Termination.COMPLETED else termination.remedy,
    )
