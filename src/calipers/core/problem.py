"""What is asked: a specification over a set of inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.core.norms import flat
from calipers.core.sets import Index, InputSet, LpBall


@dataclass(frozen=True)
class Specification:
    """A batch of specifications; one holds at x iff C f(x) + d > 0 in every row. A tie breaks it."""

    C: Float[Tensor, "batch rows classes"]
    d: Float[Tensor, "batch rows"]

    @classmethod
    def classified_as(cls, labels: Int[Tensor, " batch"], classes: int) -> "Specification":
        """Rows f_y - f_j > 0 for every class j other than the label y."""
        others = torch.arange(classes, device=labels.device).expand(len(labels), -1)
        others = others[others != labels[:, None]].reshape(len(labels), classes - 1)
        identity = torch.eye(classes, device=labels.device)
        return cls(identity[labels][:, None, :] - identity[others], torch.zeros(others.shape, device=labels.device))

    @classmethod
    def ranks_above(
        cls, labels: Int[Tensor, " batch"], targets: Int[Tensor, " batch"], classes: int
    ) -> "Specification":
        """The one row f_y - f_t > 0: what a targeted attack has to break. A third class may still be the largest.

        Raises InputError where a target is the label.
        """
        if bool((labels == targets).any()):
            same = int((labels == targets).nonzero()[0])
            raise InputError(f"target {int(targets[same])} is the label of entry {same}; accepted: another class")
        identity = torch.eye(classes, device=labels.device)
        rows = (identity[labels] - identity[targets])[:, None, :]
        return cls(rows, torch.zeros(rows.shape[:2], device=labels.device))

    def margins(self, logits: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch rows"]:
        return torch.einsum("brc,bc->br", self.C.to(logits.dtype), logits) + self.d.to(logits.dtype)

    def __len__(self) -> int:
        return len(self.C)

    def __getitem__(self, index: Index) -> "Specification":
        return Specification(self.C[index], self.d[index])


@dataclass(frozen=True, eq=False)
class Alternatives:
    """Clauses of alternatives: they hold at x iff in every clause some row of C f(x) + D x + d is positive.

    So "right or rejected" is one clause of two rows, and a disjunction over inputs and outputs is as well. Rows that
    are repeated change nothing: clauses of fewer rows are padded so. `graph.alternatives` makes of it a specification
    of a network with one output per clause.
    """

    C: Float[Tensor, "clauses rows classes"]
    D: Float[Tensor, "clauses rows inputs"]
    d: Float[Tensor, "clauses rows"]

    @classmethod
    def of(cls, clauses: Sequence[tuple[Tensor, Tensor, Tensor]]) -> "Alternatives":
        """From clauses with numbers of rows of their own: C, D and d of each. Raises InputError for an empty one."""
        if not clauses or any(not len(d) for *_, d in clauses):
            raise InputError("alternatives: a clause without rows can never hold; accepted: one or more rows each")
        rows = max(len(d) for *_, d in clauses)

        def padded(parts: Sequence[Tensor]) -> Tensor:
            return torch.stack(
                [torch.cat([part, part[:1].repeat(rows - len(part), *[1] * (part.dim() - 1))]) for part in parts]
            )

        return cls(*(padded(side) for side in zip(*clauses, strict=True)))

    def margins(
        self, x: Float[Tensor, "batch inputs"], outputs: Float[Tensor, "batch classes"]
    ) -> Float[Tensor, "batch clauses"]:
        """The best row of every clause, at flat inputs and the outputs there."""
        rows = torch.einsum("krc,bc->bkr", self.C.to(outputs), outputs) + torch.einsum("krn,bn->bkr", self.D.to(x), x)
        return (rows + self.d.to(outputs)).amax(-1)

    def __len__(self) -> int:
        return len(self.C)


def _places(count: int, index: Index) -> list[int]:
    """The numbers of the instances that an index takes; ids are kept on the CPU, an index may be anywhere."""
    return torch.arange(count)[index.cpu() if isinstance(index, Tensor) else index].tolist()


@dataclass(frozen=True)
class Problem:
    """A batch of instances: does the model keep its specification on the whole input set? One instance has length 1."""

    model_digest: str
    sample_id: tuple[int, ...]
    input_set: InputSet
    specification: Specification

    def __len__(self) -> int:
        return len(self.sample_id)

    def __getitem__(self, index: Index) -> "Problem":
        ids = _places(len(self), index)
        return Problem(
            self.model_digest,
            tuple(self.sample_id[i] for i in ids),
            self.input_set[index],
            self.specification[index],
        )


@dataclass(frozen=True)
class MinimumNormProblem:
    """A batch of instances: find the input nearest to each centre that breaks the specification.

    Distances are of (x - center) / scale; `scale` broadcasts over one input and carries the unit, as in LpBall.
    domain: the interval every input value must stay in, or None. Raises InputError if a centre is outside it.
    """

    model_digest: str
    sample_id: tuple[int, ...]
    center: Float[Tensor, "batch *shape"]
    distance: Distance
    scale: Float[Tensor, "..."]
    domain: tuple[float, float] | None
    specification: Specification

    def __post_init__(self) -> None:
        if not len(self.sample_id) == len(self.center) == len(self.specification):
            counts = f"{len(self.sample_id)} ids, {len(self.center)} centres, {len(self.specification)} specifications"
            raise InputError(f"minimum-norm problem: {counts}; accepted: one of each per instance")
        if not bool((self.scale > 0).all()):
            raise InputError(f"minimum-norm problem: scale {float(self.scale.min()):g}; accepted: positive numbers")
        if not bool(self.admits(self.center).all()):
            low, high = float(self.center.min()), float(self.center.max())
            raise InputError(f"minimum-norm problem: centres run from {low:g} to {high:g}, the domain is {self.domain}")

    def __len__(self) -> int:
        return len(self.sample_id)

    def __getitem__(self, index: Index) -> "MinimumNormProblem":
        ids = _places(len(self), index)
        return MinimumNormProblem(
            self.model_digest,
            tuple(self.sample_id[i] for i in ids),
            self.center[index],
            self.distance,
            self.scale,
            self.domain,
            self.specification[index],
        )

    def admits(self, x: Float[Tensor, "batch *shape"]) -> Bool[Tensor, " batch"]:
        """Whether every value of x is finite and in the domain."""
        # Comparing values one by one takes ten times as long. NaN is both extremes, and fails every comparison.
        least, most = flat(x).amin(-1), flat(x).amax(-1)
        if self.domain is None:
            return least.isfinite() & most.isfinite()
        return (least >= self.domain[0]) & (most <= self.domain[1])

    def perturbed(self, u: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        """The input center + scale * u, clipped to the domain; the centre's own values where u is 0."""
        x = self.center + self.scale * u
        return x if self.domain is None else x.clamp(*self.domain)

    def clip(self, u: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        """The perturbation u, in units of scale, cut so that the perturbed input stays in the domain."""
        return u if self._room is None else u.clamp(*self._room)

    @cached_property
    def _room(self) -> tuple[Tensor, Tensor] | None:
        """How far every value may move down and up, in units of scale: attacks ask in every step."""
        if self.domain is None:
            return None
        return (self.domain[0] - self.center) / self.scale, (self.domain[1] - self.center) / self.scale

    def inward(self, x: Float[Tensor, "..."], direction: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The direction without the values that would take x out of the domain; x broadcasts over it."""
        if self.domain is None:
            return direction
        low, high = self.domain
        return direction.masked_fill(((x <= low) & (direction < 0)) | ((x >= high) & (direction > 0)), 0)

    @property
    def width(self) -> Float[Tensor, "..."]:
        """The size of the domain in units of scale; one unit where there is no domain. It broadcasts as scale does."""
        return torch.ones_like(self.scale) if self.domain is None else (self.domain[1] - self.domain[0]) / self.scale

    def measure(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, " batch"]:
        """How far each x is from its centre."""
        return self.distance((x - self.center) / self.scale)

    def within(self, epsilon: float) -> Problem:
        """The fixed-epsilon problem on the balls of this distance. Raises InputError for counts, which have none."""
        norm = self.distance.norm
        if norm is None:
            raise InputError(f"distance {self.distance} has no balls to search or to prove; accepted: linf, l2, l1")
        radius = torch.full((len(self),), epsilon, dtype=self.center.dtype, device=self.center.device)
        ball = LpBall(self.center, radius, norm, self.scale, self.domain)
        return Problem(self.model_digest, self.sample_id, ball, self.specification)
