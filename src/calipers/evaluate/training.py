"""Training as a run: a unit per epoch, and the history of all of them in the store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from calipers.core.devices import described, told
from calipers.core.digests import digest_json
from calipers.core.tasks import Done
from calipers.core.tracker import Silent, Tracker
from calipers.core.warnings import SanityWarning
from calipers.data.images import ImageDataset
from calipers.evaluate.run import begin, run
from calipers.store.codec import PlainCodec
from calipers.store.store import Store
from calipers.train import Recipe, TrainedModel, Trainer, steps_of
from calipers.train.checkpoint import EpochRecord

KIND = "training"


@dataclass(frozen=True)
class TrainingTask:
    """A recipe, the data it is trained on, and the card that is written. device: on which, with its model's name."""

    recipe: Recipe
    data_digest: str
    card: str
    device: str = "cpu"

    @property
    def kind(self) -> str:
        return KIND

    @property
    def title(self) -> str:
        return f"{self.recipe.model} on {self.recipe.data}, {self.recipe.objective}, {self.recipe.epochs} epochs"

    @property
    def digest(self) -> str:
        return digest_json({**self.to_dict(), "recipe": self.recipe.digest})

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        about = {"data_digest": self.data_digest, "card": self.card, **told(self.device)}
        return {"recipe": self.recipe.model_dump(mode="json"), **about}


@dataclass(frozen=True)
class EpochUnit:
    """One epoch, counted from 0; the one after the last writes the card. count: batches."""

    epoch: int
    last: bool
    count: int

    @property
    def name(self) -> str:
        return "card" if self.last else f"epoch-{self.epoch:05d}"

    @property
    def doing(self) -> str:
        return "accuracies and card" if self.last else f"epoch {self.epoch + 1}"


CODEC = PlainCodec(EpochRecord, "epoch")


@dataclass(frozen=True, eq=False)
class TrainingWorker:
    """Trains epoch by epoch; each goes on from the checkpoint of the one before. tracker: told of every batch."""

    trainer: Trainer
    held_out: ImageDataset
    tracker: Tracker = field(default_factory=Silent)

    @property
    def steps(self) -> int:
        return steps_of(self.trainer.recipe, self.trainer.dataset)

    def plan(self, done: Mapping[str, Sequence[EpochRecord]]) -> Sequence[EpochUnit]:
        """See `Worker`."""
        epochs = self.trainer.recipe.epochs
        finished = [done[name][0] for epoch in range(epochs) if (name := f"epoch-{epoch:05d}") in done]
        ended = any(record.ended for record in finished)
        known = len(finished) if ended else len(finished) + 1
        units = [EpochUnit(epoch, False, self.steps // epochs) for epoch in range(known)]
        return [*units, EpochUnit(epochs, True, 0)] if ended else units

    def execute(self, unit: EpochUnit) -> Done[EpochRecord]:
        """See `Worker`."""
        if not unit.last:
            return Done([self.trainer.epoch(unit.epoch, self.tracker)])
        return Done([EpochRecord(unit.epoch, self.trainer.finish(self.held_out), 0.0, 0.0)])

    def summarise(self, records: Sequence[EpochRecord], warnings: Sequence[SanityWarning]) -> Mapping[str, Any]:
        """See `Worker`."""
        card = [record.metrics for record in records if record.epoch == self.trainer.recipe.epochs]
        return {"accuracies": card[0]} if card else {}


def task_of(trainer: Trainer) -> TrainingTask:
    """The task of a training."""
    return TrainingTask(trainer.recipe, trainer.dataset.digest, str(trainer.out), described(trainer.device))


def train_in(
    store: Store, trainer: Trainer, held_out: ImageDataset, command: str, tracker: Tracker, *, resume: bool = False
) -> TrainedModel:
    """Train by recipe as a run of the store, and return what was saved.

    resume: go on with the newest run of the same recipe, data and card, from its checkpoint; else start over.
    """
    if not resume:
        trainer.checkpoint.unlink(missing_ok=True)
    task = task_of(trainer)
    started = begin(store, task, command, resume=resume)
    if resume and started.status == "complete" and not trainer.out.exists():
        started = begin(store, task, command, resume=False)
    ended = run(started, TrainingWorker(trainer, held_out, tracker), CODEC, store)
    return trainer.result(store.metric(ended.run_id, "accuracies"))


def history_of(store: Store, run_id: str) -> tuple[list[EpochRecord], dict[str, float]]:
    """The epochs of a run, and the accuracies at its end, if it has ended."""
    epochs = [record for record in store.records(run_id, CODEC) if "loss" in record.metrics]
    return epochs, store.metric(run_id, "accuracies") or {}
