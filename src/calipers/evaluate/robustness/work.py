"""One batch under one method: from live objects to records and arrays, without side effects."""

import time

import torch

from calipers.attacks import run_attack, run_minimum_norm
from calipers.core.problem import Specification
from calipers.core.seeds import derive_seed
from calipers.core.tasks import Done
from calipers.evaluate.robustness.answers import (
    attacked_record,
    clean_record,
    misclassified_record,
    verified_record,
)
from calipers.evaluate.robustness.plan import MethodUnit
from calipers.evaluate.robustness.records import Question, SampleRecord
from calipers.evaluate.robustness.subject import Subject
from calipers.evaluate.robustness.task import RobustnessTask
from calipers.verify import run_verifier


def measured(unit: MethodUnit, task: RobustnessTask, subject: Subject) -> Done[SampleRecord]:
    """The records and arrays of one unit; the same for the same task whenever it runs."""
    labels = subject.labels[unit.samples]
    if unit.question is Question.CLEAN:
        return _predicted(unit, task, subject)
    right = [k for k, clean in enumerate(unit.clean) if clean.margin > 0]
    correct = torch.tensor(right, dtype=torch.long)
    # A margin that is not a number is no correct answer.
    wrong = [
        misclassified_record(unit, k, labels, clean, task) for k, clean in enumerate(unit.clean) if not clean.margin > 0
    ]
    adversarial = subject.images[unit.samples].clone()
    records: list[SampleRecord] = []
    if right and unit.epsilon is None:
        nearest = subject.nearest_problem(task, correct + unit.first)
        seed = derive_seed(task.seed, unit.method)
        found = run_minimum_norm(subject.nearest[unit.method], subject.model, nearest, seed)
        adversarial[correct] = found.adversarial
        records = [attacked_record(unit, i, k, labels, found) for i, k in enumerate(right)]
    elif right:
        assert unit.epsilon is not None
        problem = subject.problem(task, correct + unit.first, unit.epsilon)
        if unit.question is Question.ATTACK:
            seed = derive_seed(task.seed, unit.method, unit.epsilon)
            attacked = run_attack(subject.attacks[unit.method], subject.model, problem, seed)
            adversarial[correct] = attacked.adversarial
            records = [attacked_record(unit, i, k, labels, attacked) for i, k in enumerate(right)]
        else:
            assert subject.graph is not None
            proven = run_verifier(subject.verifiers[unit.method], subject.model, subject.graph, problem)
            records = [verified_record(unit, i, k, labels, proven, problem, task.seed) for i, k in enumerate(right)]
    arrays = {"adversarial": adversarial.cpu().numpy()} if unit.question is Question.ATTACK else None
    return Done(sorted([*records, *wrong], key=lambda record: record.sample_id), arrays)


def _predicted(unit: MethodUnit, task: RobustnessTask, subject: Subject) -> Done[SampleRecord]:
    start = time.perf_counter()
    logits, labels = subject.logits(unit.samples), subject.labels[unit.samples]
    margins = Specification.classified_as(labels, logits.shape[1]).margins(logits).amin(1)
    seconds = (time.perf_counter() - start) / unit.count
    records = [clean_record(unit, task, i, labels, logits, margins, seconds) for i in range(unit.count)]
    return Done(records, {"image": subject.images[unit.samples].cpu().numpy()})
