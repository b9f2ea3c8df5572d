"""Specifications at the edge of what is true, and the count of what methods claim of them."""

from collections import Counter
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from calipers.core.norms import Norm
from calipers.core.problem import Specification
from calipers.core.sets import InputSet, LpBall
from tests.soundness.replays import Deployed, breaks

# Points of a set and row at which all evaluations are tried.
_KEPT = 4
_STEPS = 14


@dataclass(frozen=True, eq=False)
class Question:
    """A batch of sets with rows, and the points of each that come nearest to breaking a row.

    broken: rows known to be false, with double precision or the module itself at any point. points: how many points
    were tried, all sets together.
    """

    network: Deployed
    sets: InputSet
    specification: Specification
    nearest: Float[Tensor, "kept batch rows *shape"]
    broken: Bool[Tensor, "batch rows"]
    points: int


def ask(network: Deployed, sets: InputSet, seed: int, rows: int = 4) -> Question:
    """Rows whose offset puts their least value a few ulps to 1e-3 of the terms' size below or above 0."""
    generator = torch.Generator().manual_seed(seed)
    drawn = _points(sets, generator)
    C = _directions(len(sets), rows, _double(network, drawn).shape[-1], generator)
    points = torch.cat([drawn, _descend(network, sets, C, drawn)])
    outputs = _double(network, points)
    values = torch.einsum("brc,pbc->pbr", C.double(), outputs)
    least = values.amin(0)
    size = torch.einsum("brc,pbc->pbr", C.double().abs(), outputs.abs()).amax(0)
    power = torch.randint(0, 15, least.shape, generator=generator)
    sign = torch.where(torch.rand(least.shape, generator=generator) < 0.65, -1.0, 1.0)
    shift = sign * (2.0**power - 1) * torch.finfo(torch.float32).eps * size
    # A few rows stay without an offset: then only the network itself cancels.
    plain = torch.rand(least.shape, generator=generator) < 0.1
    d = (shift - least).masked_fill(plain, 0.0).float()
    specification = Specification(C, d)
    with torch.no_grad():
        single = network.module(points.flatten(0, 1)).unflatten(0, points.shape[:2])
    rows_of_single = torch.einsum("brc,pbc->pbr", C.double(), single.double())
    lowest = torch.minimum(values, rows_of_single)
    order = lowest.topk(min(_KEPT, len(lowest)), 0, largest=False)
    batch = torch.arange(len(sets))[None, :, None]
    nearest = points[order.indices, batch]
    return Question(network, sets, specification, nearest, order.values[0] + d.double() <= 0, points[:, :, 0].numel())


def _double(network: Deployed, points: Tensor) -> Tensor:
    with torch.no_grad():
        return network.double(points.flatten(0, 1)).unflatten(0, points.shape[:2])


def _directions(batch: int, rows: int, outputs: int, generator: torch.Generator) -> Tensor:
    """Differences of two outputs, one output alone, and combinations."""
    kind = torch.randint(0, 4, (batch, rows, 1), generator=generator)
    pair = torch.rand(batch, rows, outputs, generator=generator).argsort(-1)
    one, two = (torch.nn.functional.one_hot(pair[..., k], outputs).float() for k in (0, 1))
    sign = torch.where(torch.rand(batch, rows, 1, generator=generator) < 0.5, -1.0, 1.0)
    mixed = torch.randn(batch, rows, outputs, generator=generator)
    return torch.where(kind == 3, mixed, torch.where(kind == 2, sign * one, one - two))


def inside(sets: InputSet, x: Float[Tensor, "points batch *shape"]) -> Float[Tensor, "points batch *shape"]:
    """Points of the sets near to these, beyond doubt: nothing about them depends on rounding."""
    if not isinstance(sets, LpBall) or sets.norm is Norm.LINF:
        return sets.box().project(x)
    center = sets.center
    within = torch.stack([sets.project(one) for one in x])
    within = center + (1 - 1e-6) * (within - center)
    distance = sets.norm(((within.double() - center.double()) / sets.scale.double()).flatten(2))
    sure = distance <= sets.radius.double() * (1 - 1e-12)
    return torch.where(sure.reshape(*sure.shape, *[1] * (x.dim() - 2)), within, center)


def _points(sets: InputSet, generator: torch.Generator, drawn: int = 24) -> Tensor:
    """(points, batch, *shape): the centre, corners (all, where they are few), and random points of each set."""
    box = sets.box()
    shape = box.lower.shape[1:]
    inputs = int(torch.Size(shape).numel())
    if inputs <= 4:
        high = (torch.arange(2**inputs)[:, None] >> torch.arange(inputs)) % 2 == 1
        high = high[:, None].expand(-1, len(box), -1)
    else:
        high = torch.rand(24, len(box), inputs, generator=generator) < 0.5
    corners = torch.where(high.reshape(len(high), len(box), *shape), box.lower, box.upper)
    share = torch.rand(drawn, len(box), *shape, generator=generator)
    # Few random places, so that most points lie on edges and faces.
    side = torch.rand(share.shape, generator=generator)
    share = torch.where(side < 0.25, 0.0, torch.where(side > 0.75, 1.0, share))
    return inside(sets, torch.cat([box.center[None], corners, box.lower + share * (box.upper - box.lower)]))


def _descend(network: Deployed, sets: InputSet, C: Tensor, drawn: Tensor) -> Tensor:
    """(rows, batch, *shape): where signed gradient steps of shrinking length lead from each row's lowest point."""
    box = sets.box()
    lower, upper = box.lower.double(), box.upper.double()
    values = torch.einsum("brc,pbc->pbr", C.double(), _double(network, drawn))
    x = drawn[values.argmin(0), torch.arange(len(sets))[:, None]].transpose(0, 1).double()
    weight = C.transpose(0, 1).double()
    best, lowest = x, torch.full(x.shape[:2], torch.inf, dtype=torch.float64)
    for step in range(_STEPS):
        x = x.detach().requires_grad_()
        value = (network.double(x.flatten(0, 1)).unflatten(0, x.shape[:2]) * weight).sum(2)
        (slope,) = torch.autograd.grad(value.sum(), x)
        better = value.detach() < lowest
        lowest = torch.where(better, value.detach(), lowest)
        best = torch.where(better.reshape(*better.shape, *[1] * (x.dim() - 2)), x.detach(), best)
        x = (best - slope.sign() * (upper - lower) * 0.5 ** (1 + step / 2)).clamp(lower, upper)
    return inside(sets, best.float())


@dataclass
class Tally:
    """What methods said of questions. wrong: claims that some evaluation breaks; by: which evaluations did.

    trials: sets with a row, each asked of every method. false: those known to be false. points: that were tried.
    """

    networks: int = 0
    trials: int = 0
    false: int = 0
    points: int = 0
    claims: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    by: dict[str, Counter[str]] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def question(self, asked: Question) -> None:
        """Count a question that methods are about to get."""
        self.networks += 1
        self.trials += asked.broken.numel()
        self.false += int(asked.broken.sum())
        self.points += asked.points

    def judge(self, asked: Question, claimed: dict[str, Bool[Tensor, "batch rows"]], where: str) -> None:
        """Try every evaluation at the nearest points of all rows that some method claims. NaN claims nothing."""
        for name, proven in claimed.items():
            self.claims[name] += int(proven.sum())
        some = torch.stack(list(claimed.values())).any(0)
        if not bool(some.any()):
            return
        image, row = some.nonzero().T
        x = asked.nearest[:, image, row]
        kept, count = x.shape[:2]
        C, d = asked.specification.C[image, row], asked.specification.d[image, row]
        found = breaks(asked.network, x.flatten(0, 1), C.repeat(kept, 1), d.repeat(kept))
        self.points += x[..., 0].numel()
        by_row = {name: at.reshape(kept, count).any(0) for name, at in found.items()}
        for name, proven in claimed.items():
            # What is said of a network in double precision is not said of one in single precision.
            counted = {k: v for k, v in by_row.items() if not name.startswith("double ") or k in ("exact", "double")}
            bad = torch.stack(list(counted.values())).any(0) & proven[image, row]
            if not name.startswith("double "):
                bad = bad | (asked.broken & proven)[image, row]
            if not bool(bad.any()):
                continue
            self.wrong[name] += int(bad.sum())
            kinds = self.by.setdefault(name, Counter())
            for one in dict.fromkeys(map(_kind, counted)):
                same = torch.stack([at for k, at in counted.items() if _kind(k) == one]).any(0)
                kinds[one] += int((same & bad).sum())
            first = int(bad.nonzero()[0])
            said = [one for one, at in counted.items() if bool(at[first])]
            self.examples.setdefault(
                name, f"{where}, set {int(image[first])}, row {int(row[first])}: broken in {', '.join(said[:4])}"
            )

    def __str__(self) -> str:
        """A line a method."""
        lines = [f"{self.trials} sets with a row, {self.false} of them known to be false, {self.points} points"]
        for name in self.claims:
            text = f"  {name}: {self.wrong[name]} wrong of {self.claims[name]} claims"
            if self.wrong[name]:
                text += f"; by {dict(self.by[name])}; {self.examples[name]}"
            lines.append(text)
        return "\n".join(lines)


def _kind(evaluation: str) -> str:
    """Orders of summation together, and batches with single points."""
    if evaluation.endswith("row in single"):
        return "row in single"
    return evaluation.split()[0].replace("batch", "torch").replace("one", "torch")
