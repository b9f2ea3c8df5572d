"""Branch and bound over the splits of ReLUs and maxpool windows, for one input set (Wang et al. 2021, beta-CROWN).

Which split to make: the one whose two sides are expected to raise the bound most, as the product of both. Pseudo-costs
tell where splits of the same output were seen often enough, trials of both sides elsewhere.
"""

import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from calipers.bounds.budget import WorkBudget
from calipers.verify.branching.choices import Account, Choice
from calipers.verify.branching.dual import Ascent, ascend, ascent_bytes
from calipers.verify.branching.journal import Journal
from calipers.verify.branching.linear_program import optimal
from calipers.verify.branching.pseudo_costs import PseudoCosts
from calipers.verify.branching.result import SearchResult
from calipers.verify.branching.splits import MaximumSplit
from calipers.verify.branching.subdomains import Root, Subdomains, Variables
from calipers.verify.branching.ties import TieWatch

# Sides that raise nothing still let the other count.
_LEAST_GAIN = 1e-4


@dataclass(frozen=True, order=True)
class _Open:
    """A subdomain that is still unproven, ordered by its bound; `number` breaks ties."""

    lower: float
    number: int
    row: int = field(compare=False)
    splits: tuple[MaximumSplit, ...] = field(compare=False)
    choices: tuple[Choice, ...] = field(compare=False)
    below: dict[int, Tensor] | None = field(compare=False)
    multiplier: Tensor = field(compare=False)


@dataclass(frozen=True)
class Search:
    """How to search. root_steps, steps: walks per ascent at the root and after each split; rate: of the ascent.

    choices: how many splits of a subdomain are considered. trials: so often an output's splits are tried.
    """

    root_steps: int = 30
    steps: int = 2
    rate: float = 0.2
    choices: int = 8
    trials: int = 4

    def run(
        self,
        root: Root,
        rows: list[int],
        budget: WorkBudget,
        journal: Journal | None = None,
        costs: PseudoCosts | None = None,
        most: float = math.inf,
    ) -> SearchResult:
        """Prove that `rows` of the root's one specification are positive, or find an input where one is not.

        Bounds only rise, so a search that is out of time has proven what it has proven. journal: takes down every
        proven subdomain. costs: what earlier searches of the same maxima have learnt. most: subdomains to bound.
        """
        costs = PseudoCosts(root.places, root.device) if costs is None else costs
        tree = _Tree(root, budget, journal, self.choices, costs)
        first = torch.zeros(len(rows), dtype=torch.long, device=root.device)
        everything = Subdomains.of(root, first, torch.tensor(rows, device=root.device), [()] * len(rows))
        ascent = ascend(everything, everything.start(), self.root_steps, self.rate, budget)
        tree.grow(everything, ascent, torch.full((len(rows),), -torch.inf, device=root.device))
        while tree.witness is None and tree.open and budget.left > 0 and tree.bounded < most and not tree.tied:
            children = _both_sides(tree.chosen(tree.take(), self.trials))
            subdomains, start = _split(root, children)
            ascent = ascend(subdomains, start, self.steps, self.rate, budget)
            tree.learn(children, ascent.walk.lower)
            tree.grow(subdomains, ascent, _before(children, root.device))
        return tree.found(rows)


class _Child(NamedTuple):
    """One side of a split of an open subdomain."""

    parent: _Open
    choice: Choice
    split: MaximumSplit


def _both_sides(chosen: Sequence[tuple[_Open, Choice]]) -> list[_Child]:
    return [_Child(parent, choice, split) for parent, choice in chosen for split in (choice.split, choice.split.other)]


def _split(root: Root, children: Sequence[_Child]) -> tuple[Subdomains, Variables]:
    """The children as subdomains, and their parents' variables made admissible for them."""
    rows = torch.tensor([child.parent.row for child in children], device=root.device)
    splits = [(*child.parent.splits, child.split) for child in children]
    subdomains = Subdomains.of(root, torch.zeros_like(rows), rows, splits)
    return subdomains, _inherited(subdomains, [child.parent for child in children])


def _before(children: Sequence[_Child], device: torch.device) -> Tensor:
    """The lower bounds of the parents."""
    return torch.tensor([child.parent.lower for child in children], device=device)


def _raised(children: Sequence[_Child], lower: Tensor) -> Tensor:
    """By how much lower bounds exceed those of the parents."""
    return lower - _before(children, lower.device).to(lower)


class _Tree:
    """The open subdomains of one search, and what its splits have taught."""

    def __init__(
        self, root: Root, budget: WorkBudget, journal: Journal | None, choices: int, costs: PseudoCosts
    ) -> None:
        self._root = root
        self._budget = budget
        self._journal = journal
        self._choices = choices
        self._costs = costs
        self._number = itertools.count()
        size = root.candidates * root.specification.d.element_size()
        self._batch = max(2, budget.fit(ascent_bytes(root)) // 2)
        self._room = budget.bytes // max(1, size // 2)
        self._stuck: list[tuple[int, float]] = []
        self._ties = TieWatch(root.propagation.graph, root.specification, budget)
        self.bounded = 0
        self.open: list[_Open] = []
        self.witness: Tensor | None = None

    def take(self) -> list[_Open]:
        """The worst open subdomains, as many as make one batch."""
        return [heapq.heappop(self.open) for _ in range(min(self._batch, len(self.open)))]

    def chosen(self, parents: list[_Open], trials: int) -> list[tuple[_Open, Choice]]:
        """The split to make of each: choices whose outputs were split less often than `trials` are tried first."""
        offers = [(parent, choice) for parent in parents for choice in parent.choices]
        device = self._root.device
        place = torch.tensor([choice.place for _, choice in offers], device=device)
        rivals = torch.tensor([len(parent.choices) > 1 for parent, _ in offers], device=device)
        tried = (rivals & (self._costs.observed(place) < trials)).nonzero()[:, 0]
        raised = self._tried([offers[i] for i in tried.tolist()])
        gains = self._costs.gains(place, torch.tensor([choice.gap for _, choice in offers], device=device))
        gains[:, tried[: raised.shape[1]]] = raised.to(gains)
        # More than the proof needs is no use.
        wanted = torch.tensor([-parent.lower for parent, _ in offers], device=device).clamp_min(1e-12)
        gains = torch.minimum(gains, wanted).maximum(_LEAST_GAIN * wanted)
        scores = gains.prod(0).split([len(parent.choices) for parent in parents])
        return [(parent, parent.choices[int(s.argmax())]) for parent, s in zip(parents, scores, strict=True)]

    def learn(self, children: Sequence[_Child], lower: Tensor) -> None:
        """Take down what splits have raised."""
        device = lower.device
        side = torch.tensor([int(child.split.kept > child.split.dropped) for child in children], device=device)
        place = torch.tensor([child.choice.place for child in children], device=device)
        gap = torch.tensor([child.choice.gap for child in children], device=device).to(lower)
        self._costs.learn(side, place, gap, _raised(children, lower))

    def grow(self, subdomains: Subdomains, ascent: Ascent, parents: Tensor) -> None:
        """Keep what is unproven, with the splits to choose from; settle by linear program what has none."""
        self.bounded += len(subdomains)
        account = Account.of(subdomains, ascent.variables, ascent.walk)
        if bool((account.value <= 0).any()):
            worst = account.value.argmin()
            self.witness = ascent.walk.lowest[worst : worst + 1]
            return
        if len(account.value):
            best = int(account.value.argmin())
            self._ties.met(ascent.walk.lowest[best : best + 1], float(account.value[best]), self.bounded)
        lower = torch.maximum(ascent.walk.lower.nan_to_num(-torch.inf), parents)
        proven = ascent.walk.lower > 0
        if self._journal is not None:
            self._journal.subdomains(subdomains, ascent.variables, proven)
        left = (~proven).nonzero()[:, 0]
        promise = self._costs.promise(account.gap[left])
        places = promise.topk(min(self._choices, promise.shape[1])).indices
        for i, choices in zip(left.tolist(), account.choices(subdomains, left, places), strict=True):
            if choices:
                self._keep(subdomains, ascent, i, float(lower[i]), choices)
            else:
                self._settle(subdomains, i, float(lower[i]))

    @property
    def tied(self) -> bool:
        """Whether rounding decides, so that going on is of no use."""
        return self._ties.over(self.bounded)

    def found(self, rows: list[int]) -> SearchResult:
        if self.witness is not None:
            return SearchResult({}, self.witness, self.bounded, False)
        left = [(entry.row, entry.lower) for entry in self.open] + self._stuck
        lowest = {row: min((lower for r, lower in left if r == row), default=torch.inf) for row in rows}
        return SearchResult(lowest, self.witness, self.bounded, not self.open or self.tied)

    def _tried(self, offers: Sequence[tuple[_Open, Choice]]) -> Tensor:
        """What both sides of splits raise by, with one walk each, (2, offers); fewer offers when time is up."""
        raised = [torch.zeros(2, 0, device=self._root.device)]
        for start in range(0, len(offers), self._batch):
            if self._budget.left <= 0:
                break
            children = _both_sides(offers[start : start + self._batch])
            subdomains, variables = _split(self._root, children)
            lower = subdomains.walk(variables).lower
            self.learn(children, lower)
            raised.append(_raised(children, lower).unflatten(0, (-1, 2)).T)
            self.bounded += len(children)
        return torch.cat([part.to(raised[-1]) for part in raised], 1)

    def _keep(self, subdomains: Subdomains, ascent: Ascent, i: int, lower: float, choices: tuple[Choice, ...]) -> None:
        # Half precision is enough for a start; beyond the budget a subdomain starts from scratch.
        roomy = len(self.open) < self._room
        below = {p: w[i].half() for p, w in ascent.variables.below.items()} if roomy else None
        splits = tuple(subdomains.splits[i])
        multiplier = ascent.variables.multiplier[i, : len(splits)].clone()
        row = int(subdomains.row[i])
        heapq.heappush(self.open, _Open(lower, next(self._number), row, splits, choices, below, multiplier))

    def _settle(self, subdomains: Subdomains, i: int, lower: float) -> None:
        one = Subdomains.of(self._root, subdomains.image[i : i + 1], subdomains.row[i : i + 1], [subdomains.splits[i]])
        variables = one.start()
        solution = optimal(one, variables)
        if solution is not None:
            variables = Variables(variables.below, solution[0])
            walk = one.walk(variables)
            if bool(walk.lower > 0):
                if self._journal is not None:
                    self._journal.subdomains(one, variables, walk.lower > 0)
                return
            if bool(self._root.specification.margins(self._root.propagation.graph.evaluate(solution[1])).min() <= 0):
                self.witness = solution[1]
                return
            lower = max(lower, float(walk.lower))
        self._stuck.append((int(subdomains.row[i]), lower))


def _inherited(subdomains: Subdomains, parents: list[_Open]) -> Variables:
    """The parents' variables, made admissible for the children."""
    start = subdomains.start()
    multiplier = start.multiplier
    for i, parent in enumerate(parents):
        multiplier[i, : len(parent.multiplier)] = parent.multiplier
    below = {
        position: torch.stack(
            [
                weights[i] if parent.below is None else parent.below[position].to(weights)
                for i, parent in enumerate(parents)
            ]
        )
        for position, weights in start.below.items()
    }
    return subdomains.admissible(below, multiplier)
