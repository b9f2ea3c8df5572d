"""Records of what a method answered about the samples of a batch."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from calipers.core.problem import Problem
from calipers.core.results import AttackResult, MinimumNormResult, Termination, Verdict, VerificationResult
from calipers.evaluate.robustness.plan import Clean, MethodUnit
from calipers.evaluate.robustness.records import Outcome, Question, SampleRecord
from calipers.evaluate.robustness.task import RobustnessTask

_OUTCOMES = {
    Verdict.VERIFIED: Outcome.VERIFIED,
    Verdict.FALSIFIED: Outcome.FALSIFIED,
    Verdict.UNKNOWN: Outcome.UNKNOWN,
}


def clean_record(
    unit: MethodUnit, task: RobustnessTask, i: int, labels: Tensor, logits: Tensor, margins: Tensor, seconds: float
) -> SampleRecord:
    """The model's answer about sample i of the batch as it is."""
    return replace(
        _blank(unit, i, labels, task.seed),
        outcome=Outcome.CORRECT if margins[i] > 0 else Outcome.WRONG,
        margin=float(margins[i]),
        prediction=int(logits[i].argmax()),
        forwards=1,
        seconds=seconds,
    )


def misclassified_record(unit: MethodUnit, k: int, labels: Tensor, clean: Clean, task: RobustnessTask) -> SampleRecord:
    """A sample that is wrong as it is needs no attack and no proof: it is its own counterexample."""
    attack = unit.question is Question.ATTACK
    return replace(
        _blank(unit, k, labels, task.seed),
        outcome=Outcome.BROKEN if attack else Outcome.FALSIFIED,
        margin=clean.margin,
        distance=0.0 if attack else None,
        prediction=clean.prediction,
        message="misclassified as it is",
    )


def attacked_record(
    unit: MethodUnit, i: int, k: int, labels: Tensor, result: AttackResult | MinimumNormResult
) -> SampleRecord:
    """Entry i of a result, which is about sample k of the batch."""
    broken = bool(result.success[i])
    return replace(
        _blank(unit, k, labels, result.seed),
        outcome=Outcome.BROKEN if broken else Outcome.SURVIVED,
        termination=result.termination,
        margin=float(result.margin[i]),
        distance=float(result.distance[i]) if broken else None,
        prediction=int(result.prediction[i]),
        forwards=int(result.forwards[i]),
        backwards=int(result.backwards[i]),
        seconds=result.seconds / len(result.margin),
        message="; ".join(remark for remark, held in result.remarks.items() if held[i]),
    )


def verified_record(
    unit: MethodUnit, i: int, k: int, labels: Tensor, result: VerificationResult, problem: Problem, seed: int
) -> SampleRecord:
    """Entry i of a result about `problem`, which is sample k of the batch."""
    witness, termination = result.witness[i], result.terminations[i]
    reason = result.reasons[i] if result.reasons else ""
    lowest = float(result.lower[i].nan_to_num(-torch.inf, torch.inf, -torch.inf).min())
    return replace(
        _blank(unit, k, labels, seed),
        outcome=_OUTCOMES[result.verdicts[i]],
        termination=termination,
        margin=lowest if np.isfinite(lowest) else None,
        distance=None if witness is None else float(problem[i : i + 1].input_set.distance(witness)),
        seconds=result.seconds[i],
        message=reason if termination is Termination.COMPLETED else termination.remedy,
    )


def blank_record(
    sample_id: int, label: int, question: Question, method: str, epsilon: float | None, seed: int
) -> SampleRecord:
    """A record that nothing was spent on, and that says nothing."""
    return SampleRecord(
        sample_id=sample_id,
        label=label,
        question=question,
        method=method,
        epsilon=epsilon,
        outcome=Outcome.UNKNOWN,
        termination=Termination.COMPLETED,
        margin=None,
        distance=None,
        prediction=None,
        forwards=0,
        backwards=0,
        seconds=0.0,
        seed=seed,
    )


def _blank(unit: MethodUnit, k: int, labels: Tensor, seed: int) -> SampleRecord:
    """About sample k of the batch."""
    return blank_record(unit.first + k, int(labels[k]), unit.question, unit.method, unit.epsilon, seed)
