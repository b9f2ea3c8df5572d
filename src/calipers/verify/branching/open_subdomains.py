"""The open list of the search over splits: subdomains that are split before they are bounded.

Which split to make: the one whose two sides are expected to raise the bound most, as the product of both. Pseudo-costs
tell where splits of the same output were seen often enough, trials of both sides elsewhere.
"""

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from calipers.bounds.budget import WorkBudget
from calipers.verify.branching.children import Child, Entry, before, both_sides, raised, split
from calipers.verify.branching.choices import Account, Choice
from calipers.verify.branching.dual import Ascent, ascend, ascent_bytes
from calipers.verify.branching.journal import Journal
from calipers.verify.branching.linear_program import optimal
from calipers.verify.branching.open_list import Bounded
from calipers.verify.branching.pseudo_costs import PseudoCosts
from calipers.verify.branching.subdomains import Root, Subdomains, Variables

# Sides that raise nothing still let the other count.
_LEAST_GAIN = 1e-4


@dataclass(frozen=True)
class Ascents:
    """Walks per ascent at the root and after each split, and the rate."""

    root_steps: int
    steps: int
    rate: float


@dataclass(frozen=True)
class SplitChoice:
    """most: splits of a subdomain that are considered. trials: so often an output's splits are tried.

    costs: what splits have raised.
    """

    most: int
    trials: int
    costs: PseudoCosts


@dataclass(frozen=True, eq=False)
class Raised:
    """A batch of subdomains with their ascent. before: the lower bounds of their parents."""

    subdomains: Subdomains
    ascent: Ascent
    account: Account
    before: Tensor


class OpenSubdomains:
    """See `OpenList`; the first batch is the whole set, once for every row."""

    def __init__(
        self,
        root: Root,
        rows: list[int],
        ascents: Ascents,
        choice: SplitChoice,
        budget: WorkBudget,
        journal: Journal | None,
    ) -> None:
        self._root, self._rows, self._ascents, self._choice = root, rows, ascents, choice
        self._budget, self._journal = budget, journal
        self._number = itertools.count()
        size = root.candidates * root.specification.d.element_size()
        self._batch = max(2, budget.fit(ascent_bytes(root)) // 2)
        self._room = budget.bytes // max(1, size // 2)
        nothing = root.specification.d.new_zeros(0)
        self._open = [Entry(-torch.inf, next(self._number), row, (), (), None, nothing) for row in rows]
        self._stuck: list[tuple[int, float]] = []
        self._trials = 0

    def __len__(self) -> int:
        return len(self._open)

    def take(self) -> list[Entry]:
        """The worst subdomains, as many as make one batch; at the root all rows."""
        count = min(self._batch, len(self._open)) if self._open[0].choices else len(self._open)
        return [heapq.heappop(self._open) for _ in range(count)]

    def put_back(self, taken: list[Entry]) -> None:
        for entry in taken:
            heapq.heappush(self._open, entry)

    def bound(self, taken: list[Entry]) -> Bounded[Raised]:
        root, self._trials = self._root, 0
        if taken[0].choices:
            children, steps = both_sides(self._chosen(taken)), self._ascents.steps
            subdomains, start = split(root, children)
            bounds = before(children, root.device)
        else:
            children, steps = [], self._ascents.root_steps
            rows = torch.tensor([entry.row for entry in taken], device=root.device)
            subdomains = Subdomains.of(root, torch.zeros_like(rows), rows, [()] * len(rows))
            start, bounds = subdomains.start(), torch.full((len(rows),), -torch.inf, device=root.device)
        ascent = ascend(subdomains, start, steps, self._ascents.rate, self._budget)
        if children:
            self._learn(children, ascent.walk.lower)
        account = Account.of(subdomains, ascent.variables, ascent.walk)
        least = int(account.value.nan_to_num(torch.inf, torch.inf, -torch.inf).argmin())
        point, margin = ascent.walk.lowest[least : least + 1], float(account.value[least])
        details = Raised(subdomains, ascent, account, bounds)
        return Bounded(len(subdomains) + self._trials, point, margin, details)

    def keep(self, bounded: Bounded[Raised]) -> Tensor | None:
        """Unproven subdomains stay with the splits to choose from; a linear program decides those without any."""
        subdomains, ascent, account = bounded.details.subdomains, bounded.details.ascent, bounded.details.account
        lower = torch.maximum(ascent.walk.lower.nan_to_num(-torch.inf), bounded.details.before)
        proven = ascent.walk.lower > 0
        if self._journal is not None:
            self._journal.subdomains(subdomains, ascent.variables, proven)
        left = (~proven).nonzero()[:, 0]
        promise = self._choice.costs.promise(account.gap[left])
        places = promise.topk(min(self._choice.most, promise.shape[1])).indices
        for i, choices in zip(left.tolist(), account.choices(subdomains, left, places), strict=True):
            if choices:
                self._add(subdomains, ascent, i, float(lower[i]), choices)
                continue
            witness = self._settle(subdomains, i, float(lower[i]))
            if witness is not None:
                return witness
        return None

    def lowest(self) -> dict[int, float]:
        left = [(entry.row, entry.lower) for entry in self._open] + self._stuck
        return {row: min((lower for r, lower in left if r == row), default=torch.inf) for row in self._rows}

    def _chosen(self, parents: list[Entry]) -> list[tuple[Entry, Choice]]:
        """The split to make of each: choices whose outputs were split less often than `trials` are tried first."""
        offers = [(parent, choice) for parent in parents for choice in parent.choices]
        device = self._root.device
        place = torch.tensor([choice.place for _, choice in offers], device=device)
        rivals = torch.tensor([len(parent.choices) > 1 for parent, _ in offers], device=device)
        tried = (rivals & (self._choice.costs.observed(place) < self._choice.trials)).nonzero()[:, 0]
        gained = self._tried([offers[i] for i in tried.tolist()])
        gains = self._choice.costs.gains(place, torch.tensor([choice.gap for _, choice in offers], device=device))
        gains[:, tried[: gained.shape[1]]] = gained.to(gains)
        # More than the proof needs is no use.
        wanted = torch.tensor([-parent.lower for parent, _ in offers], device=device).clamp_min(1e-12)
        gains = torch.minimum(gains, wanted).maximum(_LEAST_GAIN * wanted)
        scores = gains.prod(0).split([len(parent.choices) for parent in parents])
        return [(parent, parent.choices[int(s.argmax())]) for parent, s in zip(parents, scores, strict=True)]

    def _learn(self, children: Sequence[Child], lower: Tensor) -> None:
        """Take down what splits have raised."""
        device = lower.device
        side = torch.tensor([int(child.split.kept > child.split.dropped) for child in children], device=device)
        place = torch.tensor([child.choice.place for child in children], device=device)
        gap = torch.tensor([child.choice.gap for child in children], device=device).to(lower)
        self._choice.costs.learn(side, place, gap, raised(children, lower))

    def _tried(self, offers: Sequence[tuple[Entry, Choice]]) -> Tensor:
        """What both sides of splits raise by, with one walk each, (2, offers); fewer offers when time is up."""
        gained = [torch.zeros(2, 0, device=self._root.device)]
        for start in range(0, len(offers), self._batch):
            if self._budget.left <= 0:
                break
            children = both_sides(offers[start : start + self._batch])
            subdomains, variables = split(self._root, children)
            lower = subdomains.walk(variables).lower
            self._learn(children, lower)
            gained.append(raised(children, lower).unflatten(0, (-1, 2)).T)
            self._trials += len(children)
        return torch.cat([part.to(gained[-1]) for part in gained], 1)

    def _add(self, subdomains: Subdomains, ascent: Ascent, i: int, lower: float, choices: tuple[Choice, ...]) -> None:
        # Half precision is enough for a start; beyond the budget a subdomain starts from scratch.
        roomy = len(self._open) < self._room
        below = {p: w[i].half() for p, w in ascent.variables.below.items()} if roomy else None
        splits = tuple(subdomains.splits[i])
        multiplier = ascent.variables.multiplier[i, : len(splits)].clone()
        row = int(subdomains.row[i])
        heapq.heappush(self._open, Entry(lower, next(self._number), row, splits, choices, below, multiplier))

    def _settle(self, subdomains: Subdomains, i: int, lower: float) -> Tensor | None:
        """Decide by a linear program; returns an input that breaks the specification if the program finds one."""
        one = Subdomains.of(self._root, subdomains.image[i : i + 1], subdomains.row[i : i + 1], [subdomains.splits[i]])
        variables = one.start()
        solution = optimal(one, variables)
        if solution is not None:
            variables = Variables(variables.below, solution[0])
            walk = one.walk(variables)
            if bool(walk.lower > 0):
                if self._journal is not None:
                    self._journal.subdomains(one, variables, walk.lower > 0)
                return None
            if bool(self._root.specification.margins(self._root.propagation.graph.evaluate(solution[1])).min() <= 0):
                return solution[1]
            lower = max(lower, float(walk.lower))
        self._stuck.append((int(subdomains.row[i]), lower))
        return None
