"""The only way an attack sees the model: queries, which are counted and of which the best is kept."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from calipers.core.norms import per_sample
from calipers.core.problem import Problem

Loss = Callable[[Float[Tensor, "active rows"]], Float[Tensor, " active"]]


def cross_entropy(margins: Float[Tensor, "active rows"]) -> Float[Tensor, " active"]:
    """log(1 + sum_j exp(-m_j)): for the rows f_y - f_j it is the softmax cross-entropy of the label y."""
    return torch.logsumexp(torch.cat([torch.zeros_like(margins[:, :1]), -margins], dim=1), dim=1)


def smallest_margin(margins: Float[Tensor, "active rows"]) -> Float[Tensor, " active"]:
    """Minus the smallest row: the margin loss of Carlini & Wagner (2017), without its cut-off."""
    return -margins.amin(1)


class Query:
    """Access to one model on one problem. `active` lists the instances a call is about."""

    def __init__(self, model: nn.Module, problem: Problem) -> None:
        self._model = model
        self.problem = problem
        center = problem.input_set.center
        self.best = center.clone()
        self.best_margin = torch.full((len(problem),), torch.inf, dtype=center.dtype, device=center.device)
        self.forwards = torch.zeros(len(problem), dtype=torch.long)
        self.backwards = torch.zeros(len(problem), dtype=torch.long)

    def margins(self, x: Tensor, active: Int[Tensor, " active"]) -> Float[Tensor, "active rows"]:
        """Specification rows at x of shape (active, *shape); one forward pass each."""
        with torch.no_grad():
            rows = self._rows(x, active)
        self._keep(x, active, rows)
        return rows

    def gradient(
        self, x: Tensor, active: Int[Tensor, " active"], loss: Loss
    ) -> tuple[Float[Tensor, "active rows"], Float[Tensor, "active *shape"]]:
        """Specification rows at x and the gradient of `loss` of them; one forward and one backward pass each."""
        x = x.detach().requires_grad_(True)
        with torch.enable_grad():
            rows = self._rows(x, active)
            (gradient,) = torch.autograd.grad(loss(rows).sum(), x)
        self.backwards[active] += 1
        self._keep(x.detach(), active, rows.detach())
        return rows.detach(), gradient

    def unbroken(self) -> Int[Tensor, " active"]:
        """The instances for which no query has broken the specification yet."""
        return (self.best_margin > 0).nonzero()[:, 0]

    def _rows(self, x: Tensor, active: Tensor) -> Tensor:
        self.forwards[active] += 1
        return self.problem.specification[active].margins(self._model(x))

    def _keep(self, x: Tensor, active: Tensor, rows: Tensor) -> None:
        margin = rows.amin(1)
        better = (margin < self.best_margin[active]) & self.problem.input_set[active].contains(x)
        self.best_margin[active] = torch.where(better, margin, self.best_margin[active])
        self.best[active] = torch.where(per_sample(better, x), x, self.best[active])
