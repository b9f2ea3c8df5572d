"""Before the work starts: everything that can be checked is checked, and the run's specification is settled."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

import calipers
from calipers.attacks import FGSM, PGD, Attack, MinimumNormAttack
from calipers.bounds import CAPM, COMBINED, IBP
from calipers.core.devices import described, device_of, require_double
from calipers.core.distances import Distance
from calipers.core.errors import InputError, ModelError
from calipers.core.radius import as_radii
from calipers.core.space import InputSpace
from calipers.core.threat import ThreatModel
from calipers.core.warnings import SanityWarning
from calipers.data.domain import fit_domain
from calipers.data.images import ImageDataset
from calipers.evaluate.robustness.plausible import implausible
from calipers.evaluate.robustness.subject import Subject
from calipers.evaluate.robustness.task import MethodSpec, RobustnessTask
from calipers.evaluate.robustness.worker import RobustnessWorker
from calipers.graph.from_torch import graph_of
from calipers.graph.graph import Graph
from calipers.models.checks import check_model, output_size
from calipers.models.loading import LoadedModel
from calipers.models.placing import Stationary, placed
from calipers.models.presented import examples, present
from calipers.verify import BoundVerifier, RestrictedVerifier, Verifier


@dataclass(frozen=True)
class Settings:
    """How to measure. attacks, verifiers: the methods. batch_size: samples per unit of work. device: to compute on."""

    attacks: tuple[Attack | MinimumNormAttack, ...] = (FGSM(), PGD())
    verifiers: tuple[Verifier, ...] = (BoundVerifier(IBP), BoundVerifier(CAPM), BoundVerifier(COMBINED))
    seed: int = 0
    batch_size: int = 50
    device: str = "cpu"

    @property
    def fixed(self) -> tuple[Attack, ...]:
        """The attacks that answer for one radius at a time."""
        return tuple(attack for attack in self.attacks if not isinstance(attack, MinimumNormAttack))

    @property
    def nearest(self) -> tuple[MinimumNormAttack, ...]:
        """The attacks that answer for all radii at once."""
        return tuple(attack for attack in self.attacks if isinstance(attack, MinimumNormAttack))


def prepare(
    model: LoadedModel,
    dataset: ImageDataset,
    space: InputSpace,
    distance: Distance,
    epsilons: Sequence[float],
    settings: Settings,
) -> RobustnessWorker:
    """Check everything that can be checked before the work starts. Raises CalipersError with the remedy.

    distance: what a perturbation is measured by. epsilons: radii; none where only nearest examples are asked for.
    """
    if not epsilons and (settings.fixed or settings.verifiers):
        raise InputError("epsilon: none was given; accepted: one or more radii")
    radii = as_radii(epsilons) if epsilons else ()
    space = space.for_model(model.std, f"epsilon {max(radii):g}" if radii else "a distance")
    dataset = fit_domain(dataset, space.domain)
    images, labels = dataset.batch(range(len(dataset)))
    _check_shape(images, model)
    module, warnings = present(model.module, images)
    class_names = _class_names(dataset, module, images)
    warnings += check_model(module, images[:2], len(class_names), labels)
    device = device_of(settings.device)
    _check_methods(settings, distance)
    if settings.verifiers:
        require_double(device, f"verifier {settings.verifiers[0].name}")
    warnings += tuple(implausible(dataset, space, distance, epsilons))
    if model.random_weights:
        warnings += (_RANDOM_WEIGHTS,)
    graph, doubts = _graph(module, images, settings)
    warnings += doubts
    if graph is None:
        settings = replace(settings, verifiers=())
    else:
        for verifier in settings.verifiers:
            if isinstance(verifier, RestrictedVerifier):
                verifier.require(graph, ThreatModel(distance, max(radii), space=space).around(images[:1]))
    there = placed(module, device)
    if isinstance(there, Stationary):
        warnings += (_STATIONARY,)
    task = RobustnessTask(
        model=model.name,
        model_digest=model.digest,
        weights=None if model.weights is None else str(model.weights),
        data=dataset.name,
        data_digest=dataset.digest,
        class_names=class_names,
        samples=len(dataset),
        norm=str(distance),
        epsilons=tuple(sorted(set(radii))),
        space=space,
        attacks=tuple(MethodSpec(a.name, a.parameters, a in settings.nearest) for a in settings.attacks),
        verifiers=tuple(MethodSpec(v.name, v.parameters) for v in settings.verifiers),
        seed=settings.seed,
        batch_size=settings.batch_size,
        versions=_versions(),
        device=described(device),
    )
    subject = Subject(
        there,
        None if graph is None else graph.to(device=device),
        images.to(device),
        labels.to(device),
        {attack.name: attack for attack in settings.fixed},
        {attack.name: attack for attack in settings.nearest},
        {verifier.name: verifier for verifier in settings.verifiers},
    )
    return RobustnessWorker(task, subject, warnings)


def _graph(
    module: torch.nn.Module, images: torch.Tensor, settings: Settings
) -> tuple[Graph | None, tuple[SanityWarning, ...]]:
    """The network as verifiers see it, and what a reader of their answers has to know; None without verifiers.

    None too where a network has no graph: then attacks go on alone. Raises ModelError if there are none.
    """
    if not settings.verifiers:
        return None, ()
    try:
        graph = graph_of(module, examples(module, images))
    except ModelError as error:
        if not settings.attacks:
            raise
        message = "the lower jaw is not measured, since no verifier can read this model: attacks go on alone"
        return None, (SanityWarning("not-verifiable", message, str(error).partition("; supported: ")[0]),)
    note = (SanityWarning("graph", graph.note, "proofs and attacks speak of the same classes"),) if graph.note else ()
    return graph, note


_STATIONARY = SanityWarning(
    "stationary",
    "the model stays on the CPU, whatever device was asked for: its inputs go there and its answers come back",
    "it is a function with tensors of its own, or cannot be copied; give a module that torch can copy",
)

_RANDOM_WEIGHTS = SanityWarning(
    "random-weights",
    "the model was given no weights, so it is measured as it was initialised; give --weights, or train it",
    "the architecture comes from the zoo without a weight file",
)


def _check_methods(settings: Settings, distance: Distance) -> None:
    if not (settings.attacks or settings.verifiers):
        raise InputError("methods: neither attacks nor verifiers were given, so there is nothing to measure; give one")
    for kind, methods in (("attack", settings.attacks), ("verifier", settings.verifiers)):
        names = [method.name for method in methods]
        double = next((name for name in names if names.count(name) > 1), None)
        if double is not None:
            raise InputError(f"{kind} {double!r} is given {names.count(double)} times; once is enough")
    for nearest in settings.nearest:
        if distance not in nearest.distances:
            known = ", ".join(sorted(nearest.distances))
            raise InputError(f"attack {nearest.name!r} minimises {known}, not {distance}; choose another attack")
    if distance.norm is None and (settings.fixed or settings.verifiers):
        first = [*(one.name for one in settings.fixed), *(one.name for one in settings.verifiers)][0]
        raise InputError(f"{first}: {distance} has no balls to search or to prove; accepted: minimum-norm attacks")
    for attack in settings.fixed:
        if distance.norm not in attack.norms:
            known = ", ".join(sorted(attack.norms))
            raise InputError(
                f"attack {attack.name!r} searches {known} balls, the threat is {distance}; choose another attack, "
                "or none (--attacks none) to measure the lower jaw alone"
            )


def _check_shape(images: torch.Tensor, model: LoadedModel) -> None:
    if model.input_shape is not None and tuple(images.shape[1:]) != tuple(model.input_shape):
        raise InputError(
            f"data: images have shape {tuple(images.shape[1:])}, {model.name} takes {tuple(model.input_shape)}; "
            "choose data and model that fit each other"
        )


def _class_names(dataset: ImageDataset, module: torch.nn.Module, images: torch.Tensor) -> tuple[str, ...]:
    """The data's class names; numbers stand for the model's outputs, since not every class need occur."""
    names = tuple(dataset.class_names)
    if names != tuple(map(str, range(len(names)))):
        return names
    return tuple(map(str, range(output_size(module, images[:2]))))


def _versions() -> dict[str, str]:
    return {
        "calipers": calipers.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
