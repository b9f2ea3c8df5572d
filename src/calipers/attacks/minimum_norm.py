"""What a minimum-norm attack is, and the one place that grades them."""

import time
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from calipers.attacks.blind import nearest_without
from calipers.attacks.geoda import GeoDA
from calipers.attacks.grade import grade, graded
from calipers.attacks.nearest_query import NearestQuery
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.core.norms import flat, per_sample
from calipers.core.problem import MinimumNormProblem
from calipers.core.registry import Registry
from calipers.core.results import AttackResult, MinimumNormResult, Remark


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

# The search that joins where gradients are of no use; here, because this file needs it.
MINIMUM_NORM_ATTACKS.add("geoda")(GeoDA)

# How much longer a perturbation gets whose success is not confirmed, one after the other.
_BEYOND = (1e-4, 4e-4, 1.6e-3, 6.4e-3)

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
    """Run an attack and grade it: the nearest of all its queries, by its outputs on the model, and once more alone.

    Where gradients are of no use, a search without them spends the passes that the attack would have spent.

    Centres that break the specification have distance 0 and cost one forward pass; the attack does not see them.
    Raises InputError if the attack does not know the distance.
    """
    if problem.distance not in attack.distances:
        known = ", ".join(sorted(attack.distances))
        raise InputError(f"attack {attack.name!r} minimises {known}, not {problem.distance}; choose another attack")
    start = time.perf_counter()
    clean_prediction, clean_margin = grade(model, problem.specification, problem.center)
    adversarial, prediction, margin = problem.center.clone(), clean_prediction.clone(), clean_margin.clone()
    forwards = torch.ones(len(problem), dtype=torch.long, device=adversarial.device)
    backwards = torch.zeros_like(forwards)
    unbroken = (clean_margin > 0).nonzero()[:, 0]
    if len(unbroken):
        query = NearestQuery(model, problem[unbroken], clean_margin[unbroken])
        attack.run(query, seed)
        joined = nearest_without(model, query, seed)
        forwards[unbroken] += query.forwards
        backwards[unbroken] = query.backwards
        near = query.best_distance.isfinite().nonzero()[:, 0]
        if len(near):
            whose = unbroken[near]
            x, outputs = query.best[near], query.outputs(query.best)[near]
            adversarial[whose], prediction[whose], margin[whose] = _confirmed(model, problem[whose], x, outputs)
    found = (margin <= 0) | (clean_margin <= 0)
    remarks: dict[Remark, Tensor] = {}
    if len(unbroken):
        lost = query.best_distance.isfinite() & ~found[unbroken]
        nobody = torch.zeros_like(found)
        remarks = {remark: nobody.index_copy(0, unbroken, held) for remark, held in query.remarks(joined, lost).items()}
    return MinimumNormResult(
        method=attack.name,
        adversarial=torch.where(per_sample(found, adversarial), adversarial, problem.center),
        prediction=torch.where(found, prediction, clean_prediction),
        margin=torch.where(found, margin, clean_margin),
        distance=torch.where(found, problem.measure(adversarial), torch.inf),
        clean_margin=clean_margin,
        clean_prediction=clean_prediction,
        forwards=forwards,
        backwards=backwards,
        seed=seed,
        seconds=time.perf_counter() - start,
        remarks=remarks,
    )


def _confirmed(
    model: nn.Module, problem: MinimumNormProblem, x: Tensor, logits: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The inputs, their predictions and margins; what is not broken alone is moved further out, a little and then more.

    logits: the outputs at x.

    Where the rounding of a network is larger than what its outputs show, the nearest query may lie within it.
    """
    prediction, margin = graded(model, problem.specification, x, logits)
    moved = flat(x != problem.center).any(1)
    for beyond in _BEYOND:
        left = (moved & ~(margin <= 0)).nonzero()[:, 0]
        if not len(left):
            break
        one = problem[left]
        tried = one.perturbed((1 + beyond) * (x[left] - one.center) / one.scale)
        again, broken = grade(model, one.specification, tried)
        better = (broken <= 0).nonzero()[:, 0]
        x, prediction, margin = (
            old.index_copy(0, left[better], new[better])
            for old, new in ((x, tried), (prediction, again), (margin, broken))
        )
    return x, prediction, margin


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
        remarks=result.remarks,
    )
