"""A patch from data in memory, without a run of the store."""

from calipers.bounds import WorkBudget
from calipers.core.digests import digest_module
from calipers.core.threat import ThreatModel
from calipers.data.images import ImageDataset
from calipers.graph.from_torch import graph_of
from calipers.models.card import current_versions
from calipers.models.loading import LoadedModel
from calipers.models.presented import examples, present
from calipers.repairs.change import Subject, repaired
from calipers.repairs.failing import Samples
from calipers.repairs.patch import Patch, PatchCard, delta_of, patched
from calipers.repairs.recheck import margins_of
from calipers.repairs.settings import RepairSettings


def patch_for(
    model: LoadedModel, failures: ImageDataset, clean: ImageDataset, threat: ThreatModel, settings: RepairSettings
) -> Patch:
    """Repair failures; clean: data that tell what has to stay. threat: the norm, unit and domain of balls.

    Nothing is proven here beyond the bounds that the repair itself rests on. Raises CalipersError as `repaired` does.
    """
    known, wrong = (_samples(data) for data in (clean, failures))
    module, _ = present(model.module, known.x)
    graph = graph_of(module, examples(module, known.x))
    subject = Subject(module, graph, known, threat.for_model(model.std), WorkBudget())
    found = repaired(subject, wrong, settings)
    delta = delta_of(module, found.tensors)
    after = patched(module, delta)
    right = [int((margins_of(one, known.x, known.labels) > 0).sum()) for one in (module, after)]
    numbers = {
        "failures": len(wrong),
        "fixed": int((margins_of(after, wrong.x, wrong.labels) > 0).sum()),
        "samples": len(known),
        "right_before": right[0],
        "right_after": right[1],
        "margin": found.margin,
        "size": found.size,
        "seconds": found.seconds,
    }
    card = PatchCard(
        model=model.name,
        before=digest_module(module),
        after=digest_module(after),
        layer=found.layer.name,
        delta="patch.safetensors",
        settings=settings.to_dict(),
        numbers=numbers,
        certificates=[],
        versions=current_versions(),
    )
    return Patch(delta, card)


def _samples(data: ImageDataset) -> Samples:
    return Samples(*data.batch(range(len(data))), tuple(range(len(data))))
