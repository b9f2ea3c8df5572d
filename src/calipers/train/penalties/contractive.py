"""The contractive penalty (Rifai et al. 2011, of a classifier's outputs as in Matyasko 2020, section 2.5)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from calipers.train.penalties.penalty import PENALTIES
from calipers.train.penalties.slope_penalty import SlopePenalty, looked_at
from calipers.train.twice import slopes


@PENALTIES.add("contractive")
class Contractive(SlopePenalty):
    """mean of the squared Frobenius norm of the Jacobian of the logits.

    projections: estimate it from so many random directions of the logits (Hoffman et al. 2019, algorithm 1), a backward
    pass each; default exactly, with a backward pass per class.
    """

    projections: int | None = Field(default=None, ge=1)

    def value(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """See `Penalty`."""
        logits, here = looked_at(model, x)
        return slopes(logits, here, self._rows(logits), create_graph=True).square().sum() / len(x)

    def _rows(self, logits: Float[Tensor, "batch classes"]) -> Float[Tensor, "rows batch classes"]:
        """Directions of which the squared derivatives sum up to the penalty, drawn from the global CPU generator."""
        samples, classes = logits.shape
        if self.projections is None:
            return torch.eye(classes).to(logits)[:, None].expand(-1, samples, -1)
        drawn = torch.randn(self.projections, samples, classes, dtype=logits.dtype).to(logits.device)
        return F.normalize(drawn, dim=2) * (classes / self.projections) ** 0.5
