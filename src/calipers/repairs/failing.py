"""What a repair is given: samples that are wrong, and clean ones that tell what has to stay."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from calipers.core.errors import InputError
from calipers.repairs.recheck import margins_of


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs with their labels. number: the user's of each. origin: clean inputs that they were made from, if any."""

    x: Float[Tensor, "samples *shape"]
    labels: Int[Tensor, " samples"]
    number: tuple[int, ...]
    origin: Float[Tensor, "samples *shape"] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor) -> "Samples":
        number = tuple(self.number[i] for i in index.tolist())
        return Samples(self.x[index], self.labels[index], number, None if self.origin is None else self.origin[index])

    def joined(self, other: "Samples") -> "Samples":
        """The samples of both."""
        origin = None if self.origin is None or other.origin is None else torch.cat([self.origin, other.origin])
        x, labels = torch.cat([self.x, other.x]), torch.cat([self.labels, other.labels])
        return Samples(x, labels, self.number + other.number, origin)


def require_failures(model: nn.Module, failures: Samples) -> None:
    """Raise InputError where there is none, where one is no failure, and where two equal ones have different labels."""
    if not len(failures):
        raise InputError("repair: no failures were given or found; accepted: at least one misclassified sample")
    margins = margins_of(model, failures.x, failures.labels)
    right = [failures.number[i] for i in (margins > 0).nonzero()[:, 0].tolist()]
    if right:
        some = ", ".join(map(str, right[:10])) + (" ..." if len(right) > 10 else "")
        raise InputError(
            f"repair: {len(right)} of {len(failures)} failures are classified as their labels say: samples {some}; "
            "accepted: misclassified ones"
        )
    seen: dict[bytes, int] = {}
    for i, x in enumerate(failures.x):
        first = seen.setdefault(x.cpu().numpy().tobytes(), i)
        one, two = int(failures.labels[first]), int(failures.labels[i])
        if one != two:
            raise InputError(
                f"repair: samples {failures.number[first]} and {failures.number[i]} are the same input with labels "
                f"{one} and {two}; accepted: one label"
            )
