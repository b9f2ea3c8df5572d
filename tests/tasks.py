"""A small task of robustness and records of it, for tests that need no network."""

import dataclasses
from typing import Any

from calipers.core.results import Termination
from calipers.core.space import InputSpace, RadiusUnit
from calipers.evaluate.robustness.records import Outcome, Question, SampleRecord
from calipers.evaluate.robustness.task import MethodSpec, RobustnessTask

TASK = RobustnessTask(
    model="zoo.net",
    model_digest="m",
    weights=None,
    data="digits",
    data_digest="d",
    class_names=("a", "b"),
    samples=4,
    norm="linf",
    epsilons=(0.1, 0.2),
    space=InputSpace((0.0, 1.0), RadiusUnit.PIXEL, (1.0,)),
    attacks=(MethodSpec("pgd", {"steps": 40, "step_size": 0.1}),),
    verifiers=(MethodSpec("capm"),),
    seed=0,
    batch_size=2,
    versions={"calipers": "0"},
)


def clean_record(sample: int, **changes: Any) -> SampleRecord:
    """A sample that is classified correctly."""
    base = SampleRecord(
        sample, 1, Question.CLEAN, "clean", None, Outcome.CORRECT, Termination.COMPLETED, 0.5, None, 1, 1, 0, 0.1, 0
    )
    return dataclasses.replace(base, **changes)
