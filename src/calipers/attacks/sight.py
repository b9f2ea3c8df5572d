"""What gradients are worth: those of every instance are counted, mended where they can be, and judged.

A gradient is NaN or infinite at a square root, a logarithm or a norm of 0, and zero behind a rounding or a threshold;
a model that detaches its input has none. Attacks that follow such a gradient are blind, and do not notice.

- Entries that are not finite become 0. From then on the instance is looked at from beside its input, where these
  entries are moved by a little: the gradient of sqrt(x) at 0 tells nothing, the one next to it much.
- Where all of a gradient is of no use, the next one is taken further away, and so on.
- An instance that has seen nothing after `PATIENCE` gradients is blind: it is no longer asked about, and the passes
  that it was meant to cost are counted, for a search without gradients.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from calipers.core.norms import flat, per_sample
from calipers.core.problem import MinimumNormProblem, Problem
from calipers.core.results import Remark
from calipers.core.seeds import derive_seed, generator

# Gradients without use, one after the other, after which an instance without any other is blind.
PATIENCE = 8
# How far entries are moved whose gradient is not finite, of the width of the domain.
BESIDE = 1e-3
# How far an input is moved after the first gradient without use, of the width of the domain; then ever further.
NEAR, FURTHER = 2.5e-3, 2.5


class Sight:
    """What the instances of one batch have seen. A gradient that is missing altogether counts as zero."""

    def __init__(self, like: Float[Tensor, "batch *shape"], problem: Problem | MinimumNormProblem) -> None:
        none = torch.zeros(len(like), dtype=torch.long, device=like.device)
        self._problem = problem
        self._holes = torch.zeros_like(like)
        self._in_a_row = none.clone()
        self._without_use = none.clone()  # backward passes, at whatever input
        self._rows: Tensor | None = None
        self.zero = none.clone()  # at inputs that are not broken
        self.missing = none.clone()
        self.not_finite = none.clone()
        self.not_numbers = none.clone()  # outputs
        self.saved = none.clone()
        self.blind = none > 0
        self.troubled = False

    def awake(self, active: Int[Tensor, " active"]) -> Int[Tensor, " awake"] | None:
        """The entries of `active` that are worth a pass; None: all are."""
        if not self.troubled or not bool(self.blind[active].any()):
            return None
        return (~self.blind[active]).nonzero()[:, 0]

    def spare(self, active: Int[Tensor, " active"], passes: int) -> None:
        """Note the passes that the blind ones among `active` do not cost."""
        blind = self.blind[active]
        self.saved.index_add_(0, active, passes * blind.long())

    def remembered(self, active: Int[Tensor, " active"]) -> Float[Tensor, "active rows"]:
        """The rows at the last unbroken input that was asked about; of blind instances only."""
        assert self._rows is not None
        return self._rows[active]

    def beside(
        self, x: Float[Tensor, "active *shape"], active: Int[Tensor, " active"], domain: tuple[float, float] | None
    ) -> Float[Tensor, "active *shape"]:
        """x, moved where gradients were of no use so far; in the domain if x is."""
        width = 1.0 if domain is None else domain[1] - domain[0]
        row = self._in_a_row[active]
        # Away from the edges of the domain, one side and the other in turn.
        side = per_sample(1 - 2 * (row % 2), x).to(x.dtype).expand_as(x)
        if domain is not None:
            middle = (domain[0] + domain[1]) / 2
            side = torch.where((x <= domain[0]) | (x >= domain[1]), (middle - x).sign(), side)
        moved = x + BESIDE * width * side * (self._holes[active] > 0)
        far = (row > 0).nonzero()[:, 0]
        if len(far):
            lengths = NEAR * width * FURTHER ** (row[far] - 1).to(x.dtype)
            moved[far] += per_sample(lengths, x) * self._noise(x[far], active[far])
        return moved if domain is None else moved.clamp(*domain)

    def _noise(self, like: Float[Tensor, "far *shape"], active: Int[Tensor, " far"]) -> Float[Tensor, "far *shape"]:
        """Values in [-1, 1], of the sample and of how often it was looked for."""
        draws = [
            torch.rand(
                like.shape[1:],
                generator=generator(derive_seed(0, "sight", self._problem.sample_id[i], row)),
                dtype=like.dtype,
            )
            for i, row in zip(active.tolist(), self._in_a_row[active].tolist(), strict=True)
        ]
        return 2 * torch.stack(draws).to(like.device) - 1

    def mended(
        self,
        slopes: Float[Tensor, "active losses *shape"],
        active: Int[Tensor, " active"],
        unbroken: Bool[Tensor, " active"],
    ) -> Float[Tensor, "active losses *shape"]:
        """The finite part of gradients, after whatever is wrong with them was noted. unbroken: what the inputs are."""
        self.troubled = True
        good = slopes.abs() < torch.finfo(slopes.dtype).max ** 0.5 / 1e3  # so that squares are finite too
        slopes = torch.where(good, slopes, 0)
        holes = ~good.all(1)
        self._holes.index_add_(0, active, holes.to(self._holes.dtype))
        self.not_finite.index_add_(0, active, flat(holes).any(1).long())
        useless = flat(slopes).abs().amax(1) == 0
        self.zero.index_add_(0, active, (useless & ~flat(holes).any(1) & unbroken).long())
        # Where the specification is broken losses may be flat, which is no reason to look from elsewhere at first.
        counted = useless & (unbroken | (self._in_a_row[active] > 0))
        self._in_a_row.index_add_(0, active, counted.long())
        self._in_a_row[active[~useless]] = 0
        self._without_use.index_add_(0, active, slopes.shape[1] * useless.long())
        return slopes

    def lacks(self, active: Int[Tensor, " active"]) -> None:
        """Note that the model has no gradient to give."""
        self.troubled = True
        self.missing.index_add_(0, active, torch.ones_like(active))

    def judge(
        self, active: Int[Tensor, " active"], rows: Float[Tensor, "active rows"], backwards: Int[Tensor, " batch"]
    ) -> None:
        """Call those blind that have seen nothing yet. rows: of their inputs. backwards: passes of every instance."""
        if self._rows is None:
            self._rows = rows.new_ones(len(self.blind), rows.shape[1])
        unbroken = rows.amin(1) > 0
        self._rows[active[unbroken]] = rows[unbroken]
        nothing = (self._in_a_row >= PATIENCE) & (self._without_use >= backwards)
        self.blind |= nothing | ((self.missing > 0) & (backwards == 0))

    def back(self, active: Int[Tensor, " active"]) -> None:
        """Note that gradients were of use."""
        self._in_a_row[active] = 0

    def remarks(self, backwards: Int[Tensor, " batch"]) -> dict[Remark, Bool[Tensor, " batch"]]:
        """Which instances each remark about gradients holds for. backwards: passes of every instance."""
        return {
            Remark.NO_GRADIENT: self.missing > 0,
            Remark.ZERO_GRADIENT: (self.missing == 0) & (self.zero > 0) & (2 * self._without_use >= backwards),
            Remark.GRADIENT_NOT_FINITE: self.not_finite > 0,
            Remark.OUTPUT_NOT_FINITE: self.not_numbers > 0,
        }
