"""Checks of the evaluation itself, made on the model and the attacks before the work starts."""

import torch
from torch import Tensor

from calipers.attacks import PGD
from calipers.attacks.attack import ScalableAttack
from calipers.attacks.query import Query
from calipers.core.norms import Norm
from calipers.core.warnings import SanityWarning
from calipers.evaluate.robustness.subject import Subject
from calipers.evaluate.robustness.task import RobustnessTask

_SAMPLES = 32
_FEW = 16  # where a check costs as much as several attacks
_UNBOUNDED = PGD(steps=50, restarts=2, step_size=0.1)


def inspect(subject: Subject, task: RobustnessTask) -> list[SanityWarning]:
    """Warnings about batches and effort that a robust-looking model may owe its robustness to."""
    count = min(_SAMPLES, task.samples)
    logits = subject.logits(slice(0, count))
    correct = (logits.argmax(1) == subject.labels[:count]).nonzero()[:, 0]
    warnings = _batch_dependence(subject, logits)
    if len(correct) and subject.attacks and task.epsilons:
        warnings += _more_effort(subject, task, correct)
    return warnings


def _batch_dependence(subject: Subject, logits: Tensor) -> list[SanityWarning]:
    alone = torch.cat([subject.logits(slice(i, i + 1)) for i in range(len(logits))])
    difference = float((alone - logits).abs().max())
    if difference <= 1e-3 * max(1.0, float(logits.abs().max())):
        return []
    return [
        SanityWarning(
            "batch-dependent",
            "a sample's output depends on its batch (BatchNorm in train mode?): no number of this run can be trusted",
            f"logits differ by up to {difference:.3g} between a batch and single samples",
        )
    ]


def unbounded(subject: Subject, task: RobustnessTask, proven: set[int]) -> list[SanityWarning]:
    """With the whole domain to move in, every sample can be broken; an attack that fails there fails in general.

    That much is certain where another sample is an input of another class; else the attack may be right to fail. It
    says nothing against samples that are proven at every radius of the run.
    """
    count = min(_SAMPLES, task.samples)
    prediction = subject.logits(slice(0, count)).argmax(1)
    correct = (prediction == subject.labels[:count]).nonzero()[:, 0]
    asked = torch.tensor([i for i in correct.tolist() if i not in proven], dtype=torch.long)
    applies = Norm(task.norm) in _UNBOUNDED.norms if task.epsilons and subject.attacks else False
    if not (applies and len(asked) and bool((prediction != prediction[0]).any())):
        return []
    images = subject.images
    width = float(images.max() - images.min()) if task.domain is None else task.domain[1] - task.domain[0]
    radius = width / min(task.scale)
    if task.norm != Norm.LINF:
        radius *= images[0].numel() ** (0.5 if task.norm == Norm.L2 else 1.0)
    query = Query(subject.model, subject.problem(task, asked, radius))
    _UNBOUNDED.run(query, task.seed)
    left = int((query.best_margin > 0).sum())
    if not left:
        return []
    return [
        SanityWarning(
            "unbounded-attack-fails",
            "PGD with the whole input domain to move in does not break every sample, although there are inputs of "
            "other classes in it: gradients mislead it, so the empirical rates may overstate the robustness",
            f"{left} of {len(asked)} samples survive epsilon {radius:g}",
        )
    ]


def _more_effort(subject: Subject, task: RobustnessTask, correct: Tensor) -> list[SanityWarning]:
    """An attack with more effort should break what it breaks, not more."""
    given = next((attack for attack in subject.attacks.values() if isinstance(attack, ScalableAttack)), None)
    if given is None:
        return []
    more = given.doubled()
    problem = subject.problem(task, correct[:_FEW], max(task.epsilons))
    left = {}
    for attack in (given, more):
        query = Query(subject.model, problem)
        attack.run(query, task.seed)
        left[attack] = int((query.best_margin > 0).sum())
    if left[more] >= left[given]:
        return []
    return [
        SanityWarning(
            "effort-helps",
            f"{given.name} with twice the steps and twice the restarts breaks more: the empirical rates would "
            "fall further with more effort; give more of both, or a minimum-norm attack (--attacks standard)",
            f"{left[given]} of {len(problem)} samples survive epsilon {max(task.epsilons):g}, with more effort "
            f"{left[more]}",
        )
    ]
