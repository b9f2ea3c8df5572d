"""Open subdomains of the search over splits, and the subdomains that a split makes of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from calipers.verify.branching.choices import Choice
from calipers.verify.branching.splits import MaximumSplit
from calipers.verify.branching.subdomains import Root, Subdomains, Variables


@dataclass(frozen=True, order=True)
class Entry:
    """A subdomain that is still unproven, ordered by its bound; `number` breaks ties."""

    lower: float
    number: int
    row: int = field(compare=False)
    splits: tuple[MaximumSplit, ...] = field(compare=False)
    choices: tuple[Choice, ...] = field(compare=False)
    below: dict[int, Tensor] | None = field(compare=False)
    multiplier: Tensor = field(compare=False)


class Child(NamedTuple):
    """One side of a split of an open subdomain."""

    parent: Entry
    choice: Choice
    split: MaximumSplit


def both_sides(chosen: Sequence[tuple[Entry, Choice]]) -> list[Child]:
    """Both children of every subdomain, one after the other."""
    return [Child(parent, choice, split) for parent, choice in chosen for split in (choice.split, choice.split.other)]


def split(root: Root, children: Sequence[Child]) -> tuple[Subdomains, Variables]:
    """The children as subdomains, and their parents' variables made admissible for them."""
    rows = torch.tensor([child.parent.row for child in children], device=root.device)
    splits = [(*child.parent.splits, child.split) for child in children]
    subdomains = Subdomains.of(root, torch.zeros_like(rows), rows, splits)
    return subdomains, _inherited(subdomains, [child.parent for child in children])


def before(children: Sequence[Child], device: torch.device) -> Tensor:
    """The lower bounds of the parents."""
    return torch.tensor([child.parent.lower for child in children], device=device)


def raised(children: Sequence[Child], lower: Tensor) -> Tensor:
    """By how much lower bounds exceed those of the parents."""
    return lower - before(children, lower.device).to(lower)


def _inherited(subdomains: Subdomains, parents: list[Entry]) -> Variables:
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
