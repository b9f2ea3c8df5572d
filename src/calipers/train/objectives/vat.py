"""Virtual adversarial training (Miyato et al. 2018), with labels for all samples or for some of them."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from calipers.core.modes import frozen
from calipers.core.norms import flat, per_sample
from calipers.train.objective import Progress
from calipers.train.objectives.registry import OBJECTIVES, ObjectiveKind
from calipers.train.objectives.settings import LossSettings


class VATSettings(LossSettings):
    """epsilon: radius in l2, in units of raw inputs; 2.0 for the thesis's MNIST networks. weight: of the divergence.

    entropy: weight of the mean entropy of predictions. iterations: of the power method. probe: its finite difference,
    xi of the paper, in units of raw inputs.
    """

    epsilon: float = Field(default=2.0, gt=0)
    weight: float = Field(default=1.0, ge=0)
    entropy: float = Field(default=0.0, ge=0)
    iterations: int = Field(default=1, ge=1)
    probe: float = Field(default=1e-2, gt=0)


@dataclass(frozen=True)
class VirtualAdversarial:
    """J(x, y) over the labelled + weight * KL(p(x) || p(x + r)) + entropy * H(p(x)) over all, r as in `direction`.

    Samples with label -1 have none. The first p(x) of the divergence is taken as constant (equation 6). As in TRADES,
    perturbations are those of the model in eval mode.
    """

    settings: VATSettings

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        """See `Loss`."""
        logits = model(x)
        labelled = (y >= 0).sum().clamp_min(1)
        loss = F.cross_entropy(logits, y, ignore_index=-1, reduction="sum") / labelled
        if self.settings.entropy:
            loss = loss - self.settings.entropy * (logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()
        with frozen(model):
            moved = x + self.settings.epsilon * self.direction(model, x)
        target = logits.detach().softmax(1)
        return loss + self.settings.weight * F.kl_div(model(moved).log_softmax(1), target, reduction="batchmean")

    def direction(self, model: nn.Module, x: Tensor) -> Float[Tensor, "batch *shape"]:
        """Per sample, the unit vector in l2 along which the divergence is most curved: the power method (algorithm 1).

        Its Hessian times a vector is the difference of gradients, of which that at x is zero. The first vector is
        drawn from the global CPU generator.
        """
        with torch.no_grad():
            target = model(x).softmax(1)
        d = _unit(torch.randn(x.shape, dtype=x.dtype).to(x.device))
        for _ in range(self.settings.iterations):
            r = (self.settings.probe * d).requires_grad_(True)
            divergence = F.kl_div(model(x + r).log_softmax(1), target, reduction="sum")
            (gradient,) = torch.autograd.grad(divergence, r)
            d = _unit(gradient)
        return d


def _unit(d: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
    return d / per_sample(flat(d).norm(dim=1).clamp_min(torch.finfo(d.dtype).tiny), d)


OBJECTIVES.add("vat")(
    ObjectiveKind(
        VATSettings, False, lambda settings, inner: settings.minimised(VirtualAdversarial(settings)), unlabelled=True
    )
)
