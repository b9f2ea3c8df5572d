"""Checks of the evaluation itself, made on live objects before the work starts."""

import torch
from torch import Tensor

from calipers.attacks import PGD
from calipers.attacks.query import Query, cross_entropy
from calipers.core.norms import Norm, flat
from calipers.core.records import RunSpec, SanityWarning
from calipers.evaluate.subject import Subject

_SAMPLES = 32
_FEW = 16  # where a check costs as much as several attacks
_UNBOUNDED = PGD(steps=50, restarts=2, step_size=0.1)


def inspect(subject: Subject, spec: RunSpec) -> list[SanityWarning]:
    """Warnings about gradients, batches and attacks that a robust-looking model may owe its robustness to."""
    count = min(_SAMPLES, spec.samples)
    logits = subject.logits(slice(0, count))
    correct = (logits.argmax(1) == subject.labels[:count]).nonzero()[:, 0]
    warnings = _batch_dependence(subject, logits)
    if len(correct) and subject.attacks and spec.epsilons:
        warnings += _zero_gradients(subject, spec, correct)
        warnings += _unbounded_attack(subject, spec, correct)
        warnings += _more_effort(subject, spec, correct)
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


def _zero_gradients(subject: Subject, spec: RunSpec, correct: Tensor) -> list[SanityWarning]:
    query = Query(subject.model, subject.problem(spec, correct, max(spec.epsilons)))
    _, gradient = query.gradient(subject.images[correct], torch.arange(len(correct)), cross_entropy)
    dead = int((flat(gradient).abs().amax(1) == 0).sum())
    if not dead:
        return []
    return [
        SanityWarning(
            "zero-gradient",
            "the gradient of the cross-entropy is exactly zero at clean samples: attacks that follow it are blind",
            f"{dead} of {len(correct)} samples",
        )
    ]


def _unbounded_attack(subject: Subject, spec: RunSpec, correct: Tensor) -> list[SanityWarning]:
    """With the whole domain to move in, every sample can be broken; an attack that fails there fails in general."""
    images = subject.images
    width = float(images.max() - images.min()) if spec.domain is None else spec.domain[1] - spec.domain[0]
    radius = width / min(spec.scale)
    if spec.norm != Norm.LINF:
        radius *= images[0].numel() ** (0.5 if spec.norm == Norm.L2 else 1.0)
    query = Query(subject.model, subject.problem(spec, correct, radius))
    if Norm(spec.norm) not in _UNBOUNDED.norms:
        return []
    _UNBOUNDED.run(query, spec.seed)
    left = int((query.best_margin > 0).sum())
    if not left:
        return []
    return [
        SanityWarning(
            "unbounded-attack-fails",
            "PGD with the whole input domain to move in does not break every sample: gradients mislead it, so the "
            "empirical rates overstate the robustness",
            f"{left} of {len(correct)} samples survive epsilon {radius:g}",
        )
    ]


def _more_effort(subject: Subject, spec: RunSpec, correct: Tensor) -> list[SanityWarning]:
    """Four times PGD's passes should break what it breaks, not more."""
    given = next((attack for attack in subject.attacks.values() if isinstance(attack, PGD)), None)
    if given is None:
        return []
    more = PGD(2 * given.steps, 2 * given.restarts, None if given.step_size is None else given.step_size / 2)
    problem = subject.problem(spec, correct[:_FEW], max(spec.epsilons))
    left = {}
    for attack in (given, more):
        query = Query(subject.model, problem)
        attack.run(query, spec.seed)
        left[attack] = int((query.best_margin > 0).sum())
    if left[more] >= left[given]:
        return []
    return [
        SanityWarning(
            "effort-helps",
            "PGD with twice the steps and twice the restarts breaks more: the empirical rates would fall further with "
            "more effort; give more of both, or a minimum-norm attack (--attacks standard)",
            f"{left[given]} of {len(problem)} samples survive epsilon {max(spec.epsilons):g}, with more effort "
            f"{left[more]}",
        )
    ]
