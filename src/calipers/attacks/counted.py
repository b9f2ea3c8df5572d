"""The only way an attack sees the model: queries, which are counted and of which the best is kept."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from calipers.attacks.losses import Loss
from calipers.attacks.passes import LARGEST, sound, tally
from calipers.attacks.sight import Sight
from calipers.core.errors import InputError
from calipers.core.modes import constant
from calipers.core.norms import flat
from calipers.core.problem import MinimumNormProblem, Problem, Specification
from calipers.core.results import Remark
from calipers.models.hooks import activations


class CountedModel(ABC):
    """One model on one batch of instances; every pass is counted.

    `active` lists the instance of every input in a call; an instance may come several times.

    Gradients are mended where they can be (`Sight`), and then taken beside the input. Instances that are blind cost no
    more passes: they get the rows of their last unbroken input, and a gradient of zero.
    """

    def __init__(
        self, model: nn.Module, specification: Specification, like: Tensor, problem: Problem | MinimumNormProblem
    ) -> None:
        self._model = model
        self._specification = specification
        self.best = like.clone()
        self._kept = torch.zeros(len(like), dtype=torch.bool, device=like.device)
        self._logits: Tensor | None = None
        self.forwards = torch.zeros(len(like), dtype=torch.long, device=like.device)
        self.backwards = torch.zeros(len(like), dtype=torch.long, device=like.device)
        self.sight = Sight(like, problem)

    @property
    def everyone(self) -> Int[Tensor, " batch"]:
        """All instances."""
        return torch.arange(len(self.best), device=self.best.device)

    @property
    def spent(self) -> Int[Tensor, " batch"]:
        """The passes of every instance, with those that it was spared because it is blind."""
        return self.forwards + self.backwards + self.sight.saved

    def margins(self, x: Tensor, active: Int[Tensor, " active"]) -> Float[Tensor, "active rows"]:
        """Specification rows at x of shape (active, *shape); one forward pass each. A row that is NaN comes as inf."""
        awake = self.sight.awake(active)
        if awake is None:
            return self._margins(x, active)
        self.sight.spare(active, 1)
        rows = self.sight.remembered(active)
        return rows.index_copy(0, awake, self._margins(x[awake], active[awake])) if len(awake) else rows

    def _margins(self, x: Tensor, active: Tensor) -> Tensor:
        with torch.no_grad():
            logits, rows = self._forward(x, active)
        self._keep(x, active, logits, rows)
        return self._numbers(rows, active)

    def _numbers(self, rows: Tensor, active: Tensor) -> Tensor:
        """The rows, where they are NaN inf, which breaks nothing."""
        lost = rows.isnan()
        if not bool(lost.any()):
            return rows
        self.sight.not_numbers.index_add_(0, active, lost.any(1).long())
        return rows.masked_fill(lost, torch.inf)

    def gradient(
        self, x: Tensor, active: Int[Tensor, " active"], loss: Loss
    ) -> tuple[Float[Tensor, "active rows"], Float[Tensor, "active *shape"]]:
        """Specification rows at x and the gradient of `loss` of them; one forward and one backward pass each."""
        rows, (gradient,) = self._slopes(x, active, lambda rows: [loss(rows)], 1)
        return rows, gradient

    def jacobian(
        self, x: Tensor, active: Int[Tensor, " active"]
    ) -> tuple[Float[Tensor, "active rows"], Float[Tensor, "active rows *shape"]]:
        """Specification rows at x and the gradient of every row; one forward pass each, one backward pass per row."""
        rows, slopes = self._slopes(x, active, lambda rows: list(rows.unbind(1)), self._specification.d.shape[1])
        return rows, torch.stack(slopes, 1)

    def _slopes(
        self, x: Tensor, active: Tensor, losses: Callable[[Tensor], list[Tensor]], count: int
    ) -> tuple[Tensor, list[Tensor]]:
        """Rows at x, of shape (active, rows), and the gradient of each of the `count` losses of them, shaped as x."""
        awake = self.sight.awake(active)
        if awake is not None:
            self.sight.spare(active, 1 + count)
            if not len(awake):
                return self.sight.remembered(active), [torch.zeros_like(x)] * count
        asked, whose = (x, active) if awake is None else (x[awake], active[awake])
        if self.sight.troubled:
            asked = self._inside(self.sight.beside(asked, whose, self._domain), whose)
        asked = asked.detach().requires_grad_(True)

        def whole(rows: Tensor) -> Tensor:
            return rows if awake is None else self.sight.remembered(active).index_copy(0, awake, rows)

        logits, rows, slopes = self._backward(asked, whose, lambda rows: losses(whole(rows)), count)
        self._keep(asked.detach(), whose, logits, rows)
        if slopes is None:
            rows = self._numbers(rows, whose)
            self.sight.lacks(whose)
            slopes = [torch.zeros_like(asked)] * count
            self.sight.judge(whose, rows, self.backwards)
        elif not sound(slopes):
            rows = self._numbers(rows, whose)
            slopes = list(self.sight.mended(torch.stack(slopes, 1), whose, rows.amin(1) > 0).unbind(1))
            self.sight.judge(whose, rows, self.backwards)
        elif self.sight.troubled:
            self.sight.back(whose)
        if awake is None:
            return rows, slopes
        return whole(rows), [torch.zeros_like(x).index_copy(0, awake, slope) for slope in slopes]

    def _backward(
        self, x: Tensor, active: Tensor, losses: Callable[[Tensor], list[Tensor]], count: int
    ) -> tuple[Tensor, Tensor, list[Tensor] | None]:
        """Logits, rows and gradients at x, which requires one; None where the model has none to give."""
        try:
            with torch.enable_grad():
                logits, rows = self._forward(x, active)
                if not rows.requires_grad:
                    return logits, rows, None
                slopes = [
                    torch.autograd.grad(loss.sum(), x, retain_graph=j + 1 < count)[0]
                    for j, loss in enumerate(losses(rows))
                ]
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            # It may run without a gradient: a layer that has none, or code that leaves torch. Else it raises again.
            with torch.no_grad():
                logits, rows = self._forward(x.detach(), active)
            return logits, rows, None
        tally(self.backwards, active, count)
        return logits.detach(), rows.detach(), slopes

    def logits(self, x: Tensor, active: Int[Tensor, " active"]) -> Float[Tensor, "active classes"]:
        """Outputs at x with their graph, for attacks that differentiate them themselves.

        One forward pass each, and one backward pass each whenever a gradient goes back through the outputs.
        """
        watched = self._watched(x, active)
        logits, rows = self._forward(watched, active)
        self._keep(x.detach(), active, logits.detach(), rows.detach())
        if watched is not x and not logits.requires_grad:
            self.sight.lacks(active)
            logits = logits + 0 * flat(watched).sum(1, keepdim=True)
        if logits.requires_grad:
            logits.register_hook(partial(self._went_back, active))
        return logits

    def _watched(self, x: Tensor, active: Tensor) -> Tensor:
        """x, or a copy whose gradient is mended on its way back."""
        if not (x.requires_grad and torch.is_grad_enabled()):
            return x
        copy = x.clone()
        copy.register_hook(partial(self._mended, active))
        return copy

    def _mended(self, active: Tensor, gradient: Tensor) -> Tensor:
        if bool((flat(gradient).sum(1).abs() < LARGEST).all()):
            return gradient
        return self.sight.mended(gradient[:, None], active, torch.ones_like(active) > 0)[:, 0]

    def features(self, x: Tensor, active: Int[Tensor, " active"], layer: str) -> Float[Tensor, "active *features"]:
        """What the module named `layer` returns at x, with its graph; it is counted as `logits` is.

        Raises InputError if there is no such module, or if a pass does not call it exactly once with a tensor for
        every input.
        """
        with activations(self._model, layer) as seen:
            logits, rows = self._forward(self._watched(x, active), active)
        if len(seen) != 1:
            raise InputError(f"layer {layer!r} is called {len(seen)} times in a pass; accepted: a layer called once")
        (output,) = seen
        if not isinstance(output, Tensor) or len(output) != len(x):
            kind = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
            raise InputError(f"layer {layer!r} returns {kind} for {len(x)} inputs; accepted: a tensor of that length")
        self._keep(x.detach(), active, logits.detach(), rows.detach())
        if output.requires_grad:
            output.register_hook(partial(self._went_back, active))
        return output

    def _went_back(self, active: Tensor, gradient: Tensor) -> None:
        tally(self.backwards, active)

    def logits_of(self, x: Float[Tensor, "points *shape"], instance: int) -> Float[Tensor, "points classes"]:
        """The model's output at points for one instance, for code that is not ours; one forward pass each.

        Gradients may be taken through it; every time is one backward pass each.
        """
        return self.logits(x, torch.full((len(x),), instance, device=self.best.device))

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Meanwhile no gradients are made for the model's parameters, whatever other code asks of autograd."""
        with constant(self._model):
            yield

    def _forward(self, x: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        logits = self._model(x)
        tally(self.forwards, active)
        return logits, self._specification[active].margins(logits)

    def remarks(
        self, joined: Bool[Tensor, " batch"], lost: Bool[Tensor, " batch"]
    ) -> dict[Remark, Bool[Tensor, " batch"]]:
        """What has to be known, and about which instances.

        joined: where a search without gradients joined. lost: where what broke it was not confirmed.
        """
        return {**self.sight.remarks(self.backwards), Remark.SEARCHED_WITHOUT: joined, Remark.NOT_CONFIRMED: lost}

    def outputs(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch classes"]:
        """The model's outputs at one input of every instance, for grading; what this takes is not counted.

        Where the input is the best query, to the last bit, they are those of that query, made in the batch of its call.
        """
        known = self._kept & flat(x == self.best).all(1)
        with torch.no_grad():
            if self._logits is None or not bool(known.any()):
                return self._model(x)
            left = (~known).nonzero()[:, 0]
            return self._logits.index_copy(0, left, self._model(x[left])) if len(left) else self._logits.clone()

    def _remember(self, whose: Int[Tensor, " chosen"], x: Tensor, logits: Tensor) -> None:
        """Take x of these instances for their best queries."""
        if self._logits is None:
            self._logits = logits.new_full((len(self.best), logits.shape[1]), torch.nan)
        self.best[whose], self._logits[whose], self._kept[whose] = x, logits, True

    @property
    @abstractmethod
    def _domain(self) -> tuple[float, float] | None:
        """What inputs can be."""

    @abstractmethod
    def _inside(self, x: Tensor, active: Tensor) -> Tensor:
        """Points near the sets, brought into them, if there are any."""

    @abstractmethod
    def _keep(self, x: Tensor, active: Tensor, logits: Tensor, rows: Tensor) -> None:
        """Remember x in `best` where it is the best query so far."""
