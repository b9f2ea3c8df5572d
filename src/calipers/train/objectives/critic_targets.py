"""At which class the adversary critic's attack aims (Matyasko 2020, section 4.4)."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from calipers.attacks.high_confidence import nearest_boundary
from calipers.core.problem import Specification

# From inputs and the logits there, with their graph, to classes other than the predicted ones.
Targets = Callable[[Tensor, Tensor], Tensor]


def nearest_targets(x: Float[Tensor, "batch *shape"], logits: Float[Tensor, "batch classes"]) -> Int[Tensor, " batch"]:
    """The class whose boundary with the predicted one is nearest in l2 if logits are linear. A backward pass each."""
    classes = logits.shape[1]
    slopes = [torch.autograd.grad(one.sum(), x, retain_graph=True)[0] for one in logits.unbind(1)]
    predicted = logits.argmax(1)
    specification = Specification.classified_as(predicted, classes)
    rows = torch.einsum("brc,bc...->br...", specification.C.to(x), torch.stack(slopes, 1))
    nearest = nearest_boundary(specification.margins(logits.detach()), rows)
    return nearest + (nearest >= predicted)


def uniform_targets(x: Float[Tensor, "batch *shape"], logits: Float[Tensor, "batch classes"]) -> Int[Tensor, " batch"]:
    """Drawn from all classes but the predicted one, by the global CPU generator."""
    predicted = logits.argmax(1)
    other = torch.randint(logits.shape[1] - 1, (len(x),)).to(predicted.device)
    return other + (other >= predicted)
