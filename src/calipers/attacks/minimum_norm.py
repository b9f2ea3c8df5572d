"""What a minimum-norm attack is, and the one place that grades them."""

import time
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from calipers.attacks.query import NearestQuery
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.core.norms import per_sample
from calipers.core.problem import MinimumNormProblem
from calipers.core.registry import Registry
from calipers.core.results import AttackResult, MinimumNormResult


@runtime_checkable
class MinimumNormAttack(Protocol):
    """It queries points and never grades itself. Draws come from `seed` and sample ids only."""

    @property
    def name(self) -> str: ...

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything that decides its queries, for the record."""

    @property
    def distances(self) -> frozenset[Distance]:
        """The distances it can make small."""

    def run(self, query: NearestQuery, seed: int) -> None:
        """Spend queries on the problem, of which no centre breaks its specification; the nearest broken one counts."""


# name -> the attack for a budget of propagations: forward and backward passes per sample, that at the centre included.
MINIMUM_NORM_ATTACKS: Registry[Callable[[int], MinimumNormAttack]] = Registry("minimum-norm attack")

# library -> the same for an attack of that library.
MINIMUM_NORM_LIBRARIES: Registry[Callable[[str], Callable[[int], MinimumNormAttack]]] = Registry("attack library")


def minimum_norm_attack_named(name: str) -> Callable[[int], MinimumNormAttack]:
    """The attacks of ours with this name, one for every budget, or those of another library by LIBRARY:NAME.

    Raises InputError for an unknown name and for a library that is not installed.
    """
    library, colon, theirs = name.partition(":")
    return MINIMUM_NORM_LIBRARIES[library](theirs) if colon else MINIMUM_NORM_ATTACKS[name]


def run_minimum_norm(
    attack: MinimumNormAttack, model: nn.Module, problem: MinimumNormProblem, seed: int
) -> MinimumNormResult:
    """Run an attack and grade it: the nearest of all its queries is evaluated and measured again on the model itself.

    Centres that break the specification have distance 0 and cost one forward pass; the attack does not see them.
    Raises InputError if the attack does not know the distance.
    """
    if problem.distance not in attack.distances:
        known = ", ".join(sorted(attack.distances))
        raise InputError(f"attack {attack.name!r} minimises {known}, not {problem.distance}; choose another attack")
    start = time.perf_counter()
    with torch.no_grad():
        clean = model(problem.center)
    clean_margin = problem.specification.margins(clean).amin(1)
    adversarial = problem.center.clone()
    forwards = torch.ones(len(problem), dtype=torch.long, device=adversarial.device)
    backwards = torch.zeros_like(forwards)
    unbroken = (clean_margin > 0).nonzero()[:, 0]
    if len(unbroken):
        query = NearestQuery(model, problem[unbroken], clean_margin[unbroken])
        attack.run(query, seed)
        adversarial[unbroken] = query.best
        forwards[unbroken] += query.forwards
        backwards[unbroken] = query.backwards
    with torch.no_grad():
        logits = model(adversarial)
    margin = problem.specification.margins(logits).amin(1)
    found = (margin <= 0) | (clean_margin <= 0)
    return MinimumNormResult(
        method=attack.name,
        adversarial=torch.where(per_sample(found, adversarial), adversarial, problem.center),
        prediction=torch.where(found, logits.argmax(1), clean.argmax(1)),
        margin=torch.where(found, margin, clean_margin),
        distance=torch.where(found, problem.measure(adversarial), torch.inf),
        clean_margin=clean_margin,
        clean_prediction=clean.argmax(1),
        forwards=forwards,
        backwards=backwards,
        seed=seed,
        seconds=time.perf_counter() - start,
    )


def at_epsilon(problem: MinimumNormProblem, result: MinimumNormResult, epsilon: float) -> AttackResult:
    """What the result says about one radius: an instance is broken iff its distance is at most epsilon.

    Where that would hold by rounding alone, with the input outside the ball by a unit in the last place, it does not.
    Unbroken instances keep their centre, as in every AttackResult.
    """
    broken = result.distance <= epsilon
    if problem.distance.norm is not None:
        broken = broken & problem.within(epsilon).input_set.contains(result.adversarial)
    return AttackResult(
        method=result.method,
        adversarial=torch.where(per_sample(broken, result.adversarial), result.adversarial, problem.center),
        prediction=torch.where(broken, result.prediction, result.clean_prediction),
        margin=torch.where(broken, result.margin, result.clean_margin),
        distance=torch.where(broken, result.distance, torch.zeros_like(result.distance)),
        forwards=result.forwards,
        backwards=result.backwards,
        seed=result.seed,
        seconds=result.seconds,
        termination=result.termination,
    )
