"""The repair itself: from samples that are wrong to new weights of one layer, re-checked."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from calipers.bounds import WorkBudget
from calipers.core.errors import InputError
from calipers.core.threat import ThreatModel
from calipers.core.tracker import Silent, Tracker
from calipers.graph.graph import Graph, GraphModule
from calipers.repairs.cutting_planes import Change, least_change_for
from calipers.repairs.failing import Samples, require_failures
from calipers.repairs.layers import AffineLayer, Cut, chosen_layer, cut_at
from calipers.repairs.linearised import least_change_further_in
from calipers.repairs.recheck import Rechecked, margins_of, rechecked
from calipers.repairs.requirements import AtPoints, OnBalls, Requirement, boxes_over
from calipers.repairs.settings import Guarantee, RepairSettings

# From a network and clean samples to inputs near them that it gets wrong where it can be made to.
Adversary = Callable[[nn.Module, Samples], Tensor]


@dataclass(frozen=True, eq=False)
class Subject:
    """A network and its graph; clean samples that a repair may look at; the threat that gives balls their norm."""

    model: nn.Module
    graph: Graph
    reference: Samples
    threat: ThreatModel
    budget: WorkBudget


@dataclass(frozen=True, eq=False)
class Repaired:
    """New weights of a layer. margin: that was asked for. repaired: all samples that hold now, also those that attacks
    found on the way. size: of the change, ||G|| / ||W||. seconds: of solving, without features and bounds.
    """

    layer: AffineLayer
    tensors: dict[str, Tensor]
    margin: float
    repaired: Samples
    rounds: int
    change: Change
    size: float
    rechecked: Rechecked
    seconds: float


def repaired(
    subject: Subject,
    failures: Samples,
    settings: RepairSettings,
    adversary: Adversary | None = None,
    tracker: Tracker | None = None,
) -> Repaired:
    """Change one layer so that the failures are right, with a margin, at their points or on whole balls around them.

    adversary: attacks the repaired network; what it finds is repaired too, for up to settings.rounds rounds.
    Raises InputError for what is asked wrongly, InfeasibleError with the samples that clash, CalipersError where a
    solver or the re-check fails.
    """
    tracker = tracker or Silent()
    require_failures(subject.model, failures)
    layer = chosen_layer(subject.model, subject.graph, settings.layer)
    cut = cut_at(subject.graph, layer)
    if cut.after is not None and settings.guarantee is not Guarantee.POINT:
        raise InputError(
            f"repair: guarantee {settings.guarantee} with the inner layer {layer.name}; accepted there: point, or the "
            "last layer"
        )
    if settings.rounds and (adversary is None or failures.origin is None):
        raise InputError("repair: rounds of attacks need clean inputs to start from; accepted: failures by an attack")
    tracker.advance("features of clean samples", 0)
    inputs = cut.inputs(subject.reference.x)
    margin = settings.margin or _usual_margin(subject)
    size = settings.size(inputs)
    kept = _kept(subject, cut, inputs, settings, margin)
    every, spent, rounds = failures, 0.0, 0
    while True:
        asked = _asked(subject, cut, every, settings, margin)
        start = time.perf_counter()
        if cut.after is None:
            change = least_change_for(cut, [asked, *kept], size, tracker)
        else:
            assert isinstance(asked, AtPoints)
            change = least_change_further_in(cut.after, cut.weight, asked, size, tracker)
        spent += time.perf_counter() - start
        if rounds == settings.rounds:
            break
        rounds += 1
        found = _found(cut, change, failures, adversary)
        if not len(found):
            break
        every = every.joined(found)
    weight = cut.weight + change.change
    proof = rechecked(*_networks(subject, cut, weight), every.x, every.labels)
    relative = float(np.linalg.norm(change.change) / np.linalg.norm(cut.weight))
    return Repaired(layer, cut.state(weight), margin, every, rounds, change, relative, proof, spent)


def _usual_margin(subject: Subject) -> float:
    """Half the median margin of clean samples that are right."""
    margins = margins_of(subject.model, subject.reference.x, subject.reference.labels)
    right = margins[margins > 0]
    if not len(right):
        raise InputError("repair: no clean sample is classified correctly, so there is no usual margin; give --margin")
    return float(right.median()) / 2


def _asked(subject: Subject, cut: Cut, samples: Samples, settings: RepairSettings, margin: float) -> Requirement:
    labels, number = samples.labels.cpu().numpy(), np.array(samples.number)
    if settings.guarantee is Guarantee.POINT:
        return AtPoints(cut.inputs(samples.x), labels, margin, number)
    balls = subject.threat.at(settings.radius).around(samples.x)
    over = boxes_over if settings.guarantee is Guarantee.BOX else OnBalls.over
    return over(cut, balls, labels, margin, number, subject.budget)


def _kept(
    subject: Subject, cut: Cut, inputs: Float[np.ndarray, "samples inputs"], settings: RepairSettings, margin: float
) -> list[Requirement]:
    """Clean samples that have to stay right, and balls around them that have to stay proven."""
    found: list[Requirement] = []
    if not settings.keep and not settings.keep_certified:
        return found
    if cut.after is not None:
        raise InputError(f"repair: keep with the inner layer {cut.layer.name}; accepted: the last layer")
    clean = subject.reference
    margins = margins_of(subject.model, clean.x, clean.labels).cpu().numpy()
    labels = clean.labels.cpu().numpy()
    # Half of what is asked is kept; no more than what they have.
    small = 1e-2 * margin
    right = np.flatnonzero(margins > small)
    if settings.keep:
        chosen = right[: settings.keep]
        found.append(AtPoints(inputs[chosen], labels[chosen], small, np.array(clean.number)[chosen]))
    if settings.keep_certified:
        chosen = right[: settings.keep_certified]
        balls = subject.threat.at(settings.radius).around(clean.x[torch.from_numpy(chosen)])
        proven = OnBalls.over(cut, balls, labels[chosen], small, np.array(clean.number)[chosen], subject.budget)
        short = set(proven.violated(cut, cut.weight, 1.0).sample.tolist())
        still = np.array([i for i in chosen if clean.number[i] not in short], dtype=np.int64)
        if len(still):
            balls = subject.threat.at(settings.radius).around(clean.x[torch.from_numpy(still)])
            numbers = np.array(clean.number)[still]
            found.append(OnBalls.over(cut, balls, labels[still], small, numbers, subject.budget))
    return found


def _found(cut: Cut, change: Change, failures: Samples, adversary: Adversary | None) -> Samples:
    """What an attack finds on the repaired network."""
    assert adversary is not None
    model = GraphModule(cut.repaired(cut.weight + change.change)).eval()
    x = adversary(model, failures)
    wrong = (margins_of(model, x, failures.labels) <= 0).nonzero()[:, 0]
    return replace(failures, x=x)[wrong]


def _networks(subject: Subject, cut: Cut, weight: np.ndarray) -> tuple[nn.Module, nn.Module]:
    """The repaired network as it is deployed, and in double precision."""
    deployed = cut.repaired(weight, subject.reference.x.dtype)
    exact = replace(cut, before=cut.before.to(torch.float64), after=cut.after and cut.after.to(torch.float64))
    return GraphModule(deployed).eval(), GraphModule(exact.repaired(weight, torch.float64)).eval()
