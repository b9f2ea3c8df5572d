"""Does the aims of a task, batch by batch, and keeps what came out for figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from calipers.attacks import run_minimum_norm
from calipers.core.devices import home_of, moved
from calipers.core.norms import flat, per_sample
from calipers.core.tasks import Done
from calipers.core.warnings import SanityWarning
from calipers.data.images import ImageDataset
from calipers.evaluate.relative.corrupted import fgsm_error
from calipers.evaluate.relative.task import AimUnit, RelativeRecord, RelativeTask
from calipers.train.trainer import accuracy


@dataclass(frozen=True, eq=False)
class RelativeWorker:
    """model: in eval mode, without gradients, where the work is done.

    dataset: all of the split, whose share of errors is kept with the run.
    """

    task: RelativeTask
    model: nn.Module
    dataset: ImageDataset

    @property
    def steps(self) -> int:
        return len(self.task.samples) * len(self.task.aims)

    def plan(self, done: Mapping[str, Sequence[RelativeRecord]]) -> Sequence[AimUnit]:
        """See `Worker`."""
        task = self.task
        starts = range(0, len(task.samples), task.batch_size)
        return [
            AimUnit(number, aim.name, first, min(task.batch_size, len(task.samples) - first))
            for number, aim in enumerate(task.aims)
            for first in starts
        ]

    def execute(self, unit: AimUnit) -> Done[RelativeRecord]:
        """See `Worker`."""
        aim, samples = self.task.aims[unit.aim], self.task.samples[unit.first : unit.first + unit.count]
        images, labels = moved(self.dataset.batch(samples), home_of(self.model))
        asked = aim.goal.asked(self.model, images, samples, self.task.space)
        result = run_minimum_norm(aim.attack, asked.network, asked.problem, self.task.seed)
        reached = result.distance.isfinite()
        found = torch.where(per_sample(reached, images), result.adversarial, images)
        with torch.no_grad():
            before = self.model(images).argmax(1)
            confidence, after = self.model(found).softmax(1).max(1)
        passes = result.forwards + result.backwards
        records = [
            RelativeRecord(
                aim=aim.name,
                sample=sample,
                distance=float(result.distance[i]) if reached[i] else None,
                size=float(flat(images)[i].norm()),
                label=int(labels[i]),
                before=int(before[i]),
                after=int(after[i]),
                confidence=float(confidence[i]),
                passes=int(passes[i]),
                seconds=result.seconds / len(samples),
            )
            for i, sample in enumerate(samples)
        ]
        return Done(records, {"image": images.cpu().numpy(), "found": found.cpu().numpy()})

    def summarise(self, records: Sequence[RelativeRecord], warnings: Sequence[SanityWarning]) -> Mapping[str, Any]:
        """See `Worker`."""
        clean = {"error": 1 - accuracy(self.model, self.dataset)}
        if self.task.fgsm is None:
            return clean
        return {**clean, "fgsm_error": fgsm_error(self.model, self.dataset, self.task.fgsm)}
