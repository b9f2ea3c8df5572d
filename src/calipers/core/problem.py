"""What is asked: a specification over a set of inputs."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from calipers.core.sets import Index, InputSet


@dataclass(frozen=True)
class Specification:
    """A batch of specifications; one holds at x iff C f(x) + d > 0 in every row. A tie breaks it."""

    C: Float[Tensor, "batch rows classes"]
    d: Float[Tensor, "batch rows"]

    @classmethod
    def classified_as(cls, labels: Int[Tensor, " batch"], classes: int) -> "Specification":
        """Rows f_y - f_j > 0 for every class j other than the label y."""
        others = torch.arange(classes, device=labels.device).expand(len(labels), -1)
        others = others[others != labels[:, None]].reshape(len(labels), classes - 1)
        identity = torch.eye(classes, device=labels.device)
        return cls(identity[labels][:, None, :] - identity[others], torch.zeros(others.shape, device=labels.device))

    def margins(self, logits: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch rows"]:
        return torch.einsum("brc,bc->br", self.C.to(logits.dtype), logits) + self.d.to(logits.dtype)

    def __len__(self) -> int:
        return len(self.C)

    def __getitem__(self, index: Index) -> "Specification":
        return Specification(self.C[index], self.d[index])


@dataclass(frozen=True)
class Problem:
    """A batch of instances: does the model keep its specification on the whole input set? One instance has length 1."""

    model_digest: str
    sample_id: tuple[int, ...]
    input_set: InputSet
    specification: Specification

    def __len__(self) -> int:
        return len(self.sample_id)

    def __getitem__(self, index: Index) -> "Problem":
        ids = torch.arange(len(self))[index].tolist()
        return Problem(
            self.model_digest,
            tuple(self.sample_id[i] for i in ids),
            self.input_set[index],
            self.specification[index],
        )
