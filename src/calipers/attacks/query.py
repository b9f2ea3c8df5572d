"""The only way an attack sees the model: queries, which are counted and of which the best is kept."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from calipers.core.errors import InputError
from calipers.core.problem import MinimumNormProblem, Problem, Specification

Loss = Callable[[Float[Tensor, "active rows"]], Float[Tensor, " active"]]


def cross_entropy(margins: Float[Tensor, "active rows"]) -> Float[Tensor, " active"]:
    """log(1 + sum_j exp(-m_j)): for the rows f_y - f_j it is the softmax cross-entropy of the label y."""
    return torch.logsumexp(torch.cat([torch.zeros_like(margins[:, :1]), -margins], dim=1), dim=1)


def log_odds(margins: Float[Tensor, "active rows"]) -> Float[Tensor, " active"]:
    """The logarithm of sum_j exp(-m_j): its gradient points as that of the cross-entropy does, and never vanishes."""
    return torch.logsumexp(-margins, dim=1)


def smallest_margin(margins: Float[Tensor, "active rows"]) -> Float[Tensor, " active"]:
    """Minus the smallest row: the margin loss of Carlini & Wagner (2017), without its cut-off."""
    return -margins.amin(1)


class CountedModel(ABC):
    """One model on one batch of instances; every pass is counted.

    `active` lists the instance of every input in a call; an instance may come several times.
    """

    def __init__(self, model: nn.Module, specification: Specification, like: Tensor) -> None:
        self._model = model
        self._specification = specification
        self.best = like.clone()
        self.forwards = torch.zeros(len(like), dtype=torch.long, device=like.device)
        self.backwards = torch.zeros(len(like), dtype=torch.long, device=like.device)

    @property
    def everyone(self) -> Int[Tensor, " batch"]:
        """All instances."""
        return torch.arange(len(self.best), device=self.best.device)

    def margins(self, x: Tensor, active: Int[Tensor, " active"]) -> Float[Tensor, "active rows"]:
        """Specification rows at x of shape (active, *shape); one forward pass each."""
        with torch.no_grad():
            logits, rows = self._forward(x, active)
        self._keep(x, active, logits, rows)
        return rows

    def gradient(
        self, x: Tensor, active: Int[Tensor, " active"], loss: Loss
    ) -> tuple[Float[Tensor, "active rows"], Float[Tensor, "active *shape"]]:
        """Specification rows at x and the gradient of `loss` of them; one forward and one backward pass each."""
        x = x.detach().requires_grad_(True)
        with torch.enable_grad():
            logits, rows = self._forward(x, active)
            (gradient,) = torch.autograd.grad(loss(rows).sum(), x)
        _count(self.backwards, active)
        self._keep(x.detach(), active, logits.detach(), rows.detach())
        return rows.detach(), gradient

    def logits(self, x: Tensor, active: Int[Tensor, " active"]) -> Float[Tensor, "active classes"]:
        """Outputs at x with their graph, for attacks that differentiate them themselves.

        One forward pass each, and one backward pass each whenever a gradient goes back through the outputs.
        """
        logits, rows = self._forward(x, active)
        self._keep(x.detach(), active, logits.detach(), rows.detach())
        if logits.requires_grad:
            logits.register_hook(partial(self._went_back, active))
        return logits

    def features(self, x: Tensor, active: Int[Tensor, " active"], layer: str) -> Float[Tensor, "active *features"]:
        """What the module named `layer` returns at x, with its graph; it is counted as `logits` is.

        Raises InputError if there is no such module, or if a pass does not call it exactly once with a tensor for
        every input.
        """
        modules = {name: module for name, module in self._model.named_modules() if name}
        if layer not in modules:
            raise InputError(f"layer {layer!r} is not in the model; accepted: {', '.join(modules) or 'it has none'}")
        seen: list[object] = []
        # A copy, so that a layer after it that works in place does not change it.
        handle = modules[layer].register_forward_hook(
            lambda module, inputs, output: seen.append(output.clone() if isinstance(output, Tensor) else output)
        )
        try:
            logits, rows = self._forward(x, active)
        finally:
            handle.remove()
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
        _count(self.backwards, active)

    def jacobian(
        self, x: Tensor, active: Int[Tensor, " active"]
    ) -> tuple[Float[Tensor, "active rows"], Float[Tensor, "active rows *shape"]]:
        """Specification rows at x and the gradient of every row; one forward pass each, one backward pass per row."""
        x = x.detach().requires_grad_(True)
        with torch.enable_grad():
            logits, rows = self._forward(x, active)
            count = rows.shape[1]
            slopes = [torch.autograd.grad(rows[:, j].sum(), x, retain_graph=j + 1 < count)[0] for j in range(count)]
        _count(self.backwards, active, count)
        self._keep(x.detach(), active, logits.detach(), rows.detach())
        return rows.detach(), torch.stack(slopes, dim=1)

    def logits_of(self, x: Float[Tensor, "points *shape"], instance: int) -> Float[Tensor, "points classes"]:
        """The model's output at points for one instance, for code that is not ours; one forward pass each.

        Gradients may be taken through it; every time is one backward pass each.
        """
        return self.logits(x, torch.full((len(x),), instance, device=self.best.device))

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Meanwhile no gradients are made for the model's parameters, whatever other code asks of autograd."""
        trained = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        for parameter in trained:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in trained:
                parameter.requires_grad_(True)

    def _forward(self, x: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        _count(self.forwards, active)
        logits = self._model(x)
        return logits, self._specification[active].margins(logits)

    @abstractmethod
    def _keep(self, x: Tensor, active: Tensor, logits: Tensor, rows: Tensor) -> None:
        """Remember x in `best` where it is the best query so far."""


class Query(CountedModel):
    """Access for fixed-epsilon attacks: the query inside the set with the smallest margin is kept."""

    def __init__(self, model: nn.Module, problem: Problem) -> None:
        center = problem.input_set.center
        super().__init__(model, problem.specification, center)
        self.problem = problem
        self.best_margin = torch.full((len(problem),), torch.inf, dtype=center.dtype, device=center.device)

    def unbroken(self) -> Int[Tensor, " active"]:
        """The instances for which no query has broken the specification yet."""
        return (self.best_margin > 0).nonzero()[:, 0]

    def _keep(self, x: Tensor, active: Tensor, logits: Tensor, rows: Tensor) -> None:
        margin = rows.amin(1)
        margin = margin.masked_fill(~self.problem.input_set[active].contains(x), torch.inf)
        chosen = _improvements(margin, active, self.best_margin)
        self.best_margin[active[chosen]] = margin[chosen]
        self.best[active[chosen]] = x[chosen]


class NearestQuery(CountedModel):
    """Access for minimum-norm attacks: of the queries in the domain that break the specification, the nearest is kept.

    clean_margin: the smallest specification row at every centre.

    The nearest inputs lie on the boundary, where the rounding of another batch could turn the answer. So a query counts
    only if it breaks the specification by more than `ROUNDING` units in the last place of its largest output.
    """

    ROUNDING = 32

    def __init__(self, model: nn.Module, problem: MinimumNormProblem, clean_margin: Float[Tensor, " batch"]) -> None:
        center = problem.center
        super().__init__(model, problem.specification, center)
        self.problem = problem
        self.clean_margin = clean_margin
        self.best_distance = torch.full((len(problem),), torch.inf, dtype=center.dtype, device=center.device)

    def _keep(self, x: Tensor, active: Tensor, logits: Tensor, rows: Tensor) -> None:
        slack = self.ROUNDING * torch.finfo(logits.dtype).eps * logits.abs().amax(1)
        # Only what breaks is worth measuring; at the boundary that is every other query.
        broken = (rows.amin(1) <= -slack).nonzero()[:, 0]
        if not len(broken):
            return
        x, active = x[broken], active[broken]
        distance = self.problem.distance((x - self.problem.center[active]) / self.problem.scale)
        distance = distance.masked_fill(~self.problem.admits(x), torch.inf)
        chosen = _improvements(distance, active, self.best_distance)
        self.best_distance[active[chosen]] = distance[chosen]
        self.best[active[chosen]] = x[chosen]


def _count(passes: Int[Tensor, " batch"], active: Int[Tensor, " active"], times: int = 1) -> None:
    """Add to the passes of every instance as often as it is active."""
    passes.index_add_(0, active, torch.full_like(active, times))


def _improvements(
    score: Float[Tensor, " active"], active: Int[Tensor, " active"], best: Float[Tensor, " batch"]
) -> Int[Tensor, " chosen"]:
    """The entries with the lowest score of their instance, where it is lower than the best; the first of equal ones."""
    lower = (score < best[active]).nonzero()[:, 0]
    order = lower[score[lower].argsort(stable=True)]
    first = torch.full_like(best, len(order), dtype=torch.long)
    first.scatter_reduce_(0, active[order], torch.arange(len(order), device=order.device), "amin")
    return order[first[first < len(order)]]
