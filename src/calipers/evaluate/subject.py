"""The live objects behind a specification of a run."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from calipers.attacks import Attack, MinimumNormAttack
from calipers.core.distances import Distance
from calipers.core.problem import MinimumNormProblem, Problem, Specification
from calipers.core.records import RunSpec
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

    def problem(self, spec: RunSpec, ids: Int[Tensor, " batch"], epsilon: float) -> Problem:
        """Robustness of the samples `ids` at one radius."""
        return Problem(
            spec.model_digest,
            tuple(ids.tolist()),
            spec.threat(epsilon).around(self.images[ids]),
            Specification.classified_as(self.labels[ids], len(spec.class_names)),
        )

    def nearest_problem(self, spec: RunSpec, ids: Int[Tensor, " batch"]) -> MinimumNormProblem:
        """The nearest misclassified inputs of the samples `ids`."""
        images = self.images[ids]
        scale = torch.tensor(spec.scale, dtype=images.dtype).reshape(-1, *([1] * (images.dim() - 2)))
        return MinimumNormProblem(
            spec.model_digest,
            tuple(ids.tolist()),
            images,
            Distance(spec.norm),
            scale,
            spec.domain,
            Specification.classified_as(self.labels[ids], len(spec.class_names)),
        )
