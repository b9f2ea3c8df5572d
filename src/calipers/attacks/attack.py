"""What an attack is, and the one place that grades attacks."""

import time
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from torch import nn

from calipers.attacks.blind import balls_without
from calipers.attacks.grade import graded
from calipers.attacks.query import Query
from calipers.core.errors import InputError
from calipers.core.norms import Norm
from calipers.core.problem import Problem
from calipers.core.registry import Registry
from calipers.core.results import AttackResult
from calipers.core.sets import Box, LpBall


@runtime_checkable
class Attack(Protocol):
    """A fixed-epsilon attack: it queries points and never grades itself. Draws come from `seed` and sample ids only."""

    @property
    def name(self) -> str: ...

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything that decides its queries, for the record."""

    @property
    def norms(self) -> frozenset[Norm]:
        """The norms of the balls it can search."""

    def run(self, query: Query, seed: int) -> None:
        """Spend queries on the problem; the best one inside each set counts."""


@runtime_checkable
class ScalableAttack(Attack, Protocol):
    """An attack whose effort can be raised, for the check that more effort breaks no more."""

    def doubled(self) -> Attack:
        """The same attack with twice the steps and twice the restarts."""


ATTACKS: Registry[Attack] = Registry("attack")

# library -> the attack of that library with this name, as an attack of ours.
ATTACK_LIBRARIES: Registry[Callable[[str], Attack]] = Registry("attack library")


def attack_named(name: str) -> Attack:
    """An attack of ours by its name, or one of another library by LIBRARY:NAME.

    Raises InputError for an unknown name and for a library that is not installed.
    """
    library, colon, theirs = name.partition(":")
    return ATTACK_LIBRARIES[library](theirs) if colon else ATTACKS[name]


def run_attack(attack: Attack, model: nn.Module, problem: Problem, seed: int) -> AttackResult:
    """Run an attack and grade the best query inside each set by its outputs on the model, a success once more alone.

    Where gradients are of no use, a search without them spends the passes that the attack would have spent.
    Raises InputError if the attack does not know the set's norm.
    """
    norm = norm_of(problem)
    if norm not in attack.norms:
        known = ", ".join(sorted(attack.norms))
        raise InputError(f"attack {attack.name!r} searches {known} balls, not {norm}; choose another attack")
    start = time.perf_counter()
    query = Query(model, problem)
    attack.run(query, seed)
    joined = balls_without(model, query, seed)
    x = problem.input_set.project(query.best)
    prediction, margin = graded(model, problem.specification, x, query.outputs(x))
    return AttackResult(
        method=attack.name,
        adversarial=x,
        prediction=prediction,
        margin=margin,
        distance=problem.input_set.distance(x),
        forwards=query.forwards,
        backwards=query.backwards,
        seed=seed,
        seconds=time.perf_counter() - start,
        remarks=query.remarks(joined, (query.best_margin <= 0) & ~(margin <= 0)),
    )


def norm_of(problem: Problem) -> Norm:
    """The norm in which the problem's sets are balls; boxes count as linf."""
    match problem.input_set:
        case LpBall(norm=norm):
            return norm
        case Box():
            return Norm.LINF
    raise InputError(f"attacks search balls and boxes, not {type(problem.input_set).__name__}")
