"""Before beside after, on the same samples."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor, nn

from calipers.repairs.failing import Samples

Attacked = Callable[[nn.Module, Samples], Tensor]


@dataclass(frozen=True)
class Comparison:
    """Counts of samples. right_before, right_after: clean. lost, gained: changed by the repair. robust_before,
    robust_after: under an attack on the model itself (after: RHADV). transferred: adversaries of the model before that
    the repaired one gets right, among all samples with the adversaries that were found put in place (HADV).
    per_class: by label, right before and after.
    """

    samples: int
    right_before: int
    right_after: int
    lost: int
    gained: int
    robust_before: int
    robust_after: int
    transferred: int
    per_class: dict[str, list[int]]


def compared(models: tuple[nn.Module, nn.Module], samples: Samples, attacked: Attacked) -> Comparison:
    """models: before and after. attacked: the attack's best inputs around clean samples."""
    before, after = models
    was, now = (_right(model, samples.x, samples.labels) for model in models)
    old, new = (attacked(model, samples) for model in models)
    stood, stands = _right(before, old, samples.labels), _right(after, new, samples.labels)
    in_place = torch.where((was & ~stood).reshape(-1, *[1] * (old.dim() - 1)), old, samples.x)
    classes = {
        str(int(label)): [int((samples.labels == label).sum()), int(was[at].sum()), int(now[at].sum())]
        for label in samples.labels.unique()
        for at in [samples.labels == label]
    }
    return Comparison(
        samples=len(samples),
        right_before=int(was.sum()),
        right_after=int(now.sum()),
        lost=int((was & ~now).sum()),
        gained=int((now & ~was).sum()),
        robust_before=int((was & stood).sum()),
        robust_after=int((now & stands).sum()),
        transferred=int(_right(after, in_place, samples.labels).sum()),
        per_class=classes,
    )


def _right(model: nn.Module, x: Tensor, labels: Int[Tensor, " batch"]) -> Tensor:
    with torch.no_grad():
        return torch.cat([model(part).argmax(1) for part in x.split(500)]) == labels
