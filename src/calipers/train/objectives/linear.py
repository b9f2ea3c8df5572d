"""Training on linear bounds over intervals: what CROWN-IBP and CAPM have in common."""

from dataclasses import dataclass

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from calipers.bounds import LinearBounds
from calipers.bounds.nominal import nominal_interval_margins, nominal_intervals, nominal_linear_margins
from calipers.core.problem import Specification
from calipers.core.sets import InputSet
from calipers.graph.graph import Graph
from calipers.train.objective import Progress
from calipers.train.objectives.certified import MixedSettings, Ramp, against_others, interval_margins, worst_case_loss
from calipers.train.objectives.clean import clean_pass
from calipers.train.objectives.registry import Inner


class LinearSettings(MixedSettings):
    """first_beta, last_beta: weight of the linear bounds, before and after the warm-up; intervals have the rest.

    classes: while there are walks only so many other classes take part in the loss, those nearest by intervals.
    """

    first_beta: float = Field(default=1.0, ge=0, le=1)
    last_beta: float = Field(default=0.0, ge=0, le=1)
    classes: int | None = Field(default=None, ge=1)

    @property
    def beta(self) -> Ramp:
        return Ramp(self.first_beta, self.last_beta)


@dataclass(frozen=True)
class LinearTraining:
    """kappa J(f(x), y) + (1 - kappa) J(worst logits, y), these from beta linear bounds + (1 - beta) interval bounds.

    The linear bounds are one walk back from the output with the method's planes over intervals (Zhang et al. 2020,
    equations 9 to 11). classes: how many other classes count while beta > 0, those nearest by intervals;
    None: all.
    """

    inner: Inner
    method: LinearBounds
    kappa: Ramp
    beta: Ramp
    classes: int | None = None

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        """See `Loss`."""
        logits, graph = clean_pass(model, x)
        share = self.inner.warmed(progress)
        sets = self.inner.at(progress).threat.around(x)
        asked = against_others(logits, y)
        beta = self.beta.at(share)
        if self.classes is not None and beta > 0:
            asked = nearest(asked, interval_margins(graph, sets, asked), self.classes)
        margins = mixed_margins(self.method, graph, sets, asked, beta)
        kappa = self.kappa.at(share)
        return kappa * F.cross_entropy(logits, y) + (1 - kappa) * worst_case_loss(margins)


def mixed_margins(method: LinearBounds, graph: Graph, sets: InputSet, asked: Specification, beta: float) -> Tensor:
    """Lower bounds of the rows, (batch, rows): beta of the walk over intervals, the rest of intervals alone."""
    intervals = nominal_intervals(graph, sets)
    margins = asked.d * 0
    if beta > 0:
        margins = margins + beta * nominal_linear_margins(method, graph, intervals, sets, asked)
    if beta < 1:
        margins = margins + (1 - beta) * nominal_interval_margins(graph, intervals, asked)
    return margins


def nearest(asked: Specification, margins: Tensor, count: int) -> Specification:
    """The `count` rows of each specification with the smallest margins, (batch, rows); all where there are fewer."""
    chosen = margins.topk(min(count, margins.shape[1]), largest=False).indices
    C = asked.C.gather(1, chosen.unsqueeze(2).expand(-1, -1, asked.C.shape[2]))
    return Specification(C, asked.d.gather(1, chosen))
