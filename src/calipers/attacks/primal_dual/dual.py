"""The lambda-player (thesis, section 5.2): gradient ascent on a simplex, in the log domain."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

FLOOR = math.log(1e-6)


@dataclass(frozen=True)
class Dual:
    """Weights (on the norm, on the misclassification) of every instance.

    log_weights: the player's own. average: their exponential moving average, which the r-player plays against.
    """

    log_weights: Float[Tensor, "batch 2"]
    average: Float[Tensor, "batch 2"]

    @classmethod
    def start(cls, ratio: Float[Tensor, " batch"]) -> "Dual":
        """`ratio`: the weight of the norm in units of the weight of the misclassification."""
        pair = torch.stack([ratio.log(), torch.zeros_like(ratio)], 1).log_softmax(1).clamp_min(FLOOR)
        return cls(pair, pair.exp())

    @property
    def ratio(self) -> Float[Tensor, " batch"]:
        """The average weight of the norm in units of that of the misclassification."""
        return self.average[:, 0] / self.average[:, 1]

    def step(self, margin: Float[Tensor, " batch"], rate: float, memory: float) -> "Dual":
        """More weight on misclassification where the margin is positive, less where it is negative."""
        ascent = torch.stack([torch.zeros_like(margin), rate * margin.sign()], 1)
        log_weights = (self.log_weights + ascent).log_softmax(1).clamp_min(FLOOR)
        return Dual(log_weights, memory * self.average + (1 - memory) * log_weights.exp())

    def __getitem__(self, active: Int[Tensor, " active"]) -> "Dual":
        return Dual(self.log_weights[active], self.average[active])

    def put(self, active: Int[Tensor, " active"], other: "Dual") -> "Dual":
        """The other one's rows at these instances, own rows elsewhere."""
        return Dual(
            self.log_weights.index_copy(0, active, other.log_weights), self.average.index_copy(0, active, other.average)
        )

    def where(self, chosen: Bool[Tensor, " batch"], other: "Dual") -> "Dual":
        """Own rows where `chosen`, the other one's elsewhere."""
        pick = chosen[:, None]
        log_weights = torch.where(pick, self.log_weights, other.log_weights)
        return Dual(log_weights, torch.where(pick, self.average, other.average))
