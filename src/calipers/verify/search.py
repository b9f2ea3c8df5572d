"""Branch and bound over the splits of ReLUs and maxpool windows, for one input set (Wang et al. 2021, beta-CROWN)."""

import heapq
import itertools
from dataclasses import dataclass, field

import torch
from torch import Tensor

from calipers.bounds.branching import branch
from calipers.bounds.budget import WorkBudget
from calipers.bounds.dual import Ascent, ascend
from calipers.bounds.linear_program import optimal
from calipers.bounds.splits import Split
from calipers.bounds.subdomains import Root, Subdomains, Variables
from calipers.verify.found import Found
from calipers.verify.journal import Journal

# Arrays of the size of a subdomain that one step of an ascent holds at a time.
_ARRAYS = 5


@dataclass(frozen=True, order=True)
class _Open:
    """A subdomain that is still unproven, ordered by its bound; `number` breaks ties."""

    lower: float
    number: int
    row: int = field(compare=False)
    splits: tuple[Split, ...] = field(compare=False)
    split: Split = field(compare=False)
    below: dict[int, Tensor] | None = field(compare=False)
    multiplier: Tensor = field(compare=False)


@dataclass(frozen=True)
class Search:
    """How to search. root_steps, steps: walks per ascent at the root and after each split; rate: of the ascent."""

    root_steps: int = 30
    steps: int = 2
    rate: float = 0.2

    def run(self, root: Root, rows: list[int], budget: WorkBudget, journal: Journal | None = None) -> Found:
        """Prove that `rows` of the root's one specification are positive, or find an input where one is not.

        Bounds only rise, so a search that is out of time has proven what it has proven. journal: takes down every
        proven subdomain.
        """
        tree = _Tree(root, budget, journal)
        everything = Subdomains.of(root, torch.zeros(len(rows)).long(), torch.tensor(rows), [()] * len(rows))
        ascent = ascend(everything, everything.start(), self.root_steps, self.rate)
        tree.grow(everything, ascent, torch.full((len(rows),), -torch.inf))
        while tree.witness is None and tree.open and budget.left > 0:
            parents = tree.take()
            children = [(parent, split) for parent in parents for split in (parent.split, parent.split.other)]
            subdomains = Subdomains.of(
                root,
                torch.zeros(len(children)).long(),
                torch.tensor([parent.row for parent, _ in children]),
                [(*parent.splits, split) for parent, split in children],
            )
            start = _inherited(subdomains, [parent for parent, _ in children])
            ascent = ascend(subdomains, start, self.steps, self.rate)
            tree.grow(subdomains, ascent, torch.tensor([parent.lower for parent, _ in children]))
        return tree.found(rows)


class _Tree:
    """The open subdomains of one search."""

    def __init__(self, root: Root, budget: WorkBudget, journal: Journal | None) -> None:
        self._root = root
        self._journal = journal
        self._number = itertools.count()
        size = root.candidates * root.specification.d.element_size()
        self._batch = max(2, budget.fit(size * _ARRAYS) // 2)
        self._room = budget.bytes // max(1, size // 2)
        self._stuck: list[tuple[int, float]] = []
        self._bounded = 0
        self.open: list[_Open] = []
        self.witness: Tensor | None = None

    def take(self) -> list[_Open]:
        """The worst open subdomains, as many as make one batch."""
        return [heapq.heappop(self.open) for _ in range(min(self._batch, len(self.open)))]

    def grow(self, subdomains: Subdomains, ascent: Ascent, parents: Tensor) -> None:
        """Keep what is unproven, with the split to make next; settle by linear program what has none."""
        self._bounded += len(subdomains)
        branching = branch(subdomains, ascent.variables, ascent.walk)
        if bool((branching.value <= 0).any()):
            worst = branching.value.argmin()
            self.witness = ascent.walk.lowest[worst : worst + 1]
            return
        lower = torch.maximum(ascent.walk.lower, parents)
        proven = ascent.walk.lower > ascent.walk.slack
        if self._journal is not None:
            self._journal.subdomains(subdomains, ascent.variables, proven)
        for i in (~proven).nonzero()[:, 0].tolist():
            split = branching.split[i]
            if split is None:
                self._settle(subdomains, i, float(lower[i]))
            else:
                self._keep(subdomains, ascent, i, float(lower[i]), split)

    def found(self, rows: list[int]) -> Found:
        if self.witness is not None:
            return Found({}, self.witness, self._bounded, False)
        left = [(entry.row, entry.lower) for entry in self.open] + self._stuck
        lowest = {row: min((lower for r, lower in left if r == row), default=torch.inf) for row in rows}
        return Found(lowest, self.witness, self._bounded, not self.open)

    def _keep(self, subdomains: Subdomains, ascent: Ascent, i: int, lower: float, split: Split) -> None:
        # Half precision is enough for a start; beyond the budget a subdomain starts from scratch.
        roomy = len(self.open) < self._room
        below = {p: w[i].half() for p, w in ascent.variables.below.items()} if roomy else None
        splits = tuple(subdomains.splits[i])
        multiplier = ascent.variables.multiplier[i, : len(splits)].clone()
        row = int(subdomains.row[i])
        heapq.heappush(self.open, _Open(lower, next(self._number), row, splits, split, below, multiplier))

    def _settle(self, subdomains: Subdomains, i: int, lower: float) -> None:
        one = Subdomains.of(self._root, subdomains.image[i : i + 1], subdomains.row[i : i + 1], [subdomains.splits[i]])
        variables = one.start()
        solution = optimal(one, variables)
        if solution is not None:
            variables = Variables(variables.below, solution[0])
            walk = one.walk(variables)
            if bool(walk.lower > walk.slack):
                if self._journal is not None:
                    self._journal.subdomains(one, variables, torch.ones(1, dtype=torch.bool))
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
