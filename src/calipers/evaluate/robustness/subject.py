"""The live objects behind a specification of a run."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from calipers.attacks import Attack, MinimumNormAttack
from calipers.core.distances import Distance
from calipers.core.problem import MinimumNormProblem, Problem, Specification
from calipers.evaluate.robustness.task import RobustnessTask
from calipers.graph.graph import Graph
from calipers.verify import Verifier


@dataclass(frozen=True, eq=False)
class Subject:
    """A model, the samples to measure it on and the methods to measure with.

    graph: the model for verifiers; None if there are none. images: (samples, *shape) raw values. nearest: the
    minimum-norm attacks.
    """

    model: nn.Module
    graph: Graph | None
    images: Float[Tensor, "samples *shape"]
    labels: Int[Tensor, " samples"]
    attacks: dict[str, Attack]
    nearest: dict[str, MinimumNormAttack]
    verifiers: dict[str, Verifier]

    def logits(self, samples: slice) -> Float[Tensor, "batch classes"]:
        """The model's output on clean samples."""
        with torch.no_grad():
            return self.model(self.images[samples])

    def problem(self, task: RobustnessTask, ids: Int[Tensor, " batch"], epsilon: float) -> Problem:
        """Robustness of the samples `ids` at one radius."""
        return Problem(
            task.model_digest,
            tuple(ids.tolist()),
            task.threat(epsilon).around(self.images[ids]),
            Specification.classified_as(self.labels[ids], len(task.class_names)),
        )

    def nearest_problem(self, task: RobustnessTask, ids: Int[Tensor, " batch"]) -> MinimumNormProblem:
        """The nearest misclassified inputs of the samples `ids`."""
        images = self.images[ids]
        return MinimumNormProblem(
            task.model_digest,
            tuple(ids.tolist()),
            images,
            Distance(task.norm),
            task.space.scale_of(images),
            task.domain,
            Specification.classified_as(self.labels[ids], len(task.class_names)),
        )
