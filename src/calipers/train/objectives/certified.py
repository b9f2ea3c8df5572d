"""What objectives of certified training share: the loss of the worst logits, and the start."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from calipers.bounds.nominal import nominal_interval_margins, nominal_intervals
from calipers.core.problem import Specification
from calipers.core.sets import InputSet
from calipers.graph.graph import Graph
from calipers.train.objective import Loss, Metrics, Objective, OptimizerMaker, Progress, State
from calipers.train.objectives.centred import Centred
from calipers.train.objectives.settings import LossSettings
from calipers.train.penalties.l1 import L1
from calipers.train.penalties.penalised import Penalised


class CertifiedSettings(LossSettings):
    """l1: weight of the sum of all absolute weights. ibp_start: first weights under which intervals do not grow.

    centred: first biases under which every neuron is 0 on average over the first batch.
    """

    l1: float = Field(default=0.0, ge=0)
    ibp_start: bool = True
    centred: bool = False

    def objective(self, loss: Loss) -> Objective:
        """The objective that minimises a loss with these settings."""
        sparse = Penalised(loss, (L1(weight=self.l1),)) if self.l1 else loss
        objective: Objective = self.minimised(sparse)
        objective = Centred(objective) if self.centred else objective
        return FromIntervals(objective) if self.ibp_start else objective


class MixedSettings(CertifiedSettings):
    """first_kappa, last_kappa: weight of the clean loss before and after the warm-up."""

    first_kappa: float = Field(default=1.0, ge=0, le=1)
    last_kappa: float = Field(default=0.0, ge=0, le=1)

    @property
    def kappa(self) -> "Ramp":
        return Ramp(self.first_kappa, self.last_kappa)


@dataclass(frozen=True)
class Ramp:
    """A number that goes in a straight line from one value to another while the radius warms up."""

    first: float
    last: float

    def at(self, share: float) -> float:
        """The number when so much of the warm-up is over."""
        return self.first + (self.last - self.first) * share


def worst_case_loss(margins: Float[Tensor, "batch rows"]) -> Tensor:
    """Mean cross-entropy of the worst logits: 0 for the label, and minus the lower bound of f_y - f_j for class j.

    It is an upper bound of the cross-entropy at every point of the sets if the margins are lower bounds there
    (Wong & Kolter 2018, theorem 2).
    """
    logits = torch.cat([torch.zeros_like(margins[:, :1]), -margins], 1)
    return F.cross_entropy(logits, torch.zeros(len(margins), dtype=torch.long, device=margins.device))


def against_others(logits: Float[Tensor, "batch classes"], y: Tensor) -> Specification:
    """Rows f_y - f_j > 0 in the precision of the logits."""
    asked = Specification.classified_as(y, logits.shape[1])
    return Specification(asked.C.to(logits), asked.d.to(logits))


def interval_margins(graph: Graph, sets: InputSet, asked: Specification) -> Float[Tensor, "batch rows"]:
    """Lower bounds of the rows over the boxes around the sets, by intervals."""
    return nominal_interval_margins(graph, nominal_intervals(graph, sets), asked)


@dataclass(frozen=True)
class FromIntervals:
    """An objective whose first weights are drawn from N(0, 2 pi / n^2), n inputs to a neuron, and biases 0.

    Then a layer with its ReLU keeps the width of intervals on average, with which other starts grow from layer to layer
    (Shi et al. 2021, section 3.1).
    """

    of: Objective

    def init(self, model: nn.Module, optimizer: OptimizerMaker) -> State:
        """See `Objective`."""
        for layer in model.modules():
            if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d):
                nn.init.normal_(layer.weight, std=math.sqrt(2 * math.pi) / layer.weight[0].numel())
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        return self.of.init(model, optimizer)

    def step(self, state: State, x: Tensor, y: Tensor, progress: Progress) -> tuple[State, Metrics]:
        """See `Objective`."""
        return self.of.step(state, x, y, progress)
