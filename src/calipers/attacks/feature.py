"""Feature adversary (Sabour et al., Adversarial Manipulation of Deep Representations, 2016)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.attacks.ascent import Ascent, Points
from calipers.attacks.pgd import steepest_ascent
from calipers.attacks.query import Query
from calipers.attacks.solver import solve
from calipers.core.digests import digest_tensors
from calipers.core.errors import InputError
from calipers.core.norms import Norm, flat
from calipers.core.sets import InputSet


@dataclass(frozen=True, eq=False)
class FeatureAdversary:
    """Inputs of the ball whose representation in an inner layer is as near as can be, in l2, to that of a guide image.

    Success is what it is for every attack, a broken specification; instances drop out once broken. Deviation: projected
    steps along the gradient's sign, whose length falls linearly to 0, instead of L-BFGS-B; all instances at once.

    layer: the dotted name of a module, as in `named_modules`. guides: an image (*shape) for every sample id, in a
    mapping or as the entries of a tensor. steps: of one forward and one backward pass; every guide costs one forward
    pass. step_size: of the first step, in radii. Raises InputError when run for a layer that is not there and for
    guides that are missing or of another shape than the inputs.
    """

    layer: str
    guides: Mapping[int, Tensor] | Tensor
    steps: int = 100
    step_size: float = 0.2

    @property
    def name(self) -> str:
        return "feature-adversary"

    @property
    def parameters(self) -> dict[str, Any]:
        guides = self.guides
        named = enumerate(guides) if isinstance(guides, Tensor) else sorted(guides.items())
        digest = digest_tensors((str(sample), guide) for sample, guide in named)
        return {"layer": self.layer, "guides": digest, "steps": self.steps, "step_size": self.step_size}

    @property
    def norms(self) -> frozenset[Norm]:
        return frozenset({Norm.LINF})

    def run(self, query: Query, seed: int) -> None:
        def direction(points: Points, k: int) -> tuple[Tensor, tuple[Tensor, ...]]:
            x = points.x.detach().requires_grad_(True)
            with torch.enable_grad():
                found = query.features(x, points.active, self.layer)
                (gradient,) = torch.autograd.grad(flat(found - points.memory[0]).square().sum(), x)
            return -gradient, points.memory

        def move(sets: InputSet, x: Tensor, down: Tensor, k: int) -> Tensor:
            return steepest_ascent(sets, down, self.step_size * (1 - k / self.steps))

        with torch.no_grad():
            wanted = query.features(self._guides(query), query.everyone, self.layer)
        start = Points(query.everyone, query.problem.input_set.center, (wanted,))
        solve(Ascent(query, start, direction, move), self.steps)

    def _guides(self, query: Query) -> Float[Tensor, "batch *shape"]:
        center, guides = query.problem.input_set.center, []
        for sample in query.problem.sample_id:
            there = 0 <= sample < len(self.guides) if isinstance(self.guides, Tensor) else sample in self.guides
            if not there:
                raise InputError(f"feature adversary: sample {sample} has no guide; {len(self.guides)} were given")
            guide = self.guides[sample]
            if guide.shape != center.shape[1:]:
                raise InputError(
                    f"feature adversary: the guide of sample {sample} has shape {tuple(guide.shape)}; accepted: "
                    f"{tuple(center.shape[1:])}, as the inputs have"
                )
            guides.append(guide.to(center))
        return torch.stack(guides)
