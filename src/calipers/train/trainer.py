"""The training loop, written once for every objective."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from calipers.core.devices import CPU, home_of
from calipers.core.errors import InputError
from calipers.core.seeds import derive_seed, generator
from calipers.core.tracker import Tracker
from calipers.data.images import ImageDataset
from calipers.models.card import save_model
from calipers.models.loading import LoadedModel, build, load_model
from calipers.train.checkpoint import Checkpoint, EpochRecord, Position
from calipers.train.fit import check_fit, check_trainable
from calipers.train.objective import DataShape, Metrics, Objective, Progress, State, fitted
from calipers.train.recipe import Recipe


@dataclass(frozen=True)
class TrainedModel:
    """A finished training run: the card it was saved under and what it measured."""

    model: LoadedModel
    card: Path
    metrics: dict[str, float]


def steps_of(recipe: Recipe, dataset: ImageDataset) -> int:
    """Optimiser steps that a recipe takes on a data set."""
    return recipe.epochs * -(-len(dataset) // recipe.batch_size)


@dataclass(frozen=True, eq=False)
class Trainer:
    """Trains by recipe, epoch by epoch, from the checkpoint beside `out` on, if there is one.

    The final weights are those of an uninterrupted run, bit for bit on a CPU. out: card to write (*.json). device: to
    train on; first weights, order and augmentation are drawn on the CPU. Raises InputError where recipe and data do not
    fit.
    """

    recipe: Recipe
    dataset: ImageDataset
    out: Path
    device: torch.device = CPU

    def __post_init__(self) -> None:
        if self.out.suffix != ".json":
            raise InputError(f"out: {self.out} must end in .json; the weights are written beside it as .safetensors")
        labelled, samples = self.recipe.labelled, len(self.dataset)
        if labelled is not None and labelled > samples:
            raise InputError(f"labelled = {labelled}: there are {samples} samples; accepted: 1 to {samples}")
        model, name = self._model(), f"model = {self.recipe.model!r}:"
        check_fit(name, model, self._shape, self.dataset.name)
        check_trainable(name, model)

    @property
    def checkpoint(self) -> Path:
        """Where unfinished training is kept."""
        return self.out.with_suffix(".checkpoint")

    def epoch(self, number: int, tracker: Tracker) -> EpochRecord:
        """Train until epoch `number` is over, counted from 0, and keep that; what is over already is not done again."""
        model = self._model()
        objective = self._objective(model)
        at = self._start(objective, model)
        while at.position.epoch <= number:
            at = self._batch(objective, at, tracker)
        return at.history[number]

    def finish(self, held_out: ImageDataset) -> dict[str, float]:
        """Save weights and card after the last epoch, with accuracies on both data sets, which are returned."""
        recipe, model = self.recipe, self._model()
        at = self._start(self._objective(model), model)
        metrics = {"train_accuracy": accuracy(model, self.dataset), "test_accuracy": accuracy(model, held_out)}
        assert at.position.epoch == recipe.epochs
        save_model(
            model,
            self.out,
            architecture=recipe.model,
            recipe=recipe.model_dump(mode="json"),
            seed=recipe.seed,
            data_digest=self.dataset.digest,
            metrics=metrics,
        )
        return metrics

    def result(self, metrics: dict[str, float]) -> TrainedModel:
        """What was saved; the checkpoint, which is of no more use, is removed."""
        trained = TrainedModel(load_model(str(self.out)), self.out, metrics)
        self.checkpoint.unlink(missing_ok=True)
        return trained

    def _model(self) -> nn.Module:
        return build(self.recipe.model, derive_seed(self.recipe.seed, "init") % 2**31)[0].to(self.device)

    def _objective(self, model: nn.Module) -> Objective:
        return fitted(self.recipe.objective_for(model), self._shape)

    @property
    def _shape(self) -> DataShape:
        return DataShape(self.dataset.input_shape, len(self.dataset.class_names), self.device)

    def _start(self, objective: Objective, model: nn.Module) -> Checkpoint:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.recipe.seed, "objective"))
            state = objective.init(model, self._optimizer)
        if self.checkpoint.exists():
            return Checkpoint.load(self.checkpoint, self.recipe.digest, state)
        return Checkpoint(Position(0, 0), state)

    def _optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        rate, weight_decay = self.recipe.optimizer.learning_rate, self.recipe.optimizer.weight_decay
        if self.recipe.optimizer.name == "adam":
            betas = (self.recipe.optimizer.beta1, 0.999)
            return torch.optim.Adam(parameters, rate, betas, weight_decay=weight_decay)
        return torch.optim.SGD(parameters, rate, momentum=0.9, weight_decay=weight_decay)

    def _batch(self, objective: Objective, at: Checkpoint, tracker: Tracker) -> Checkpoint:
        """One step further; kept every so many steps and after every epoch."""
        recipe, here = self.recipe, at.position
        batches = steps_of(recipe, self.dataset) // recipe.epochs
        progress = Progress(here.epoch, recipe.epochs, here.batch, batches)
        rate = _set_rates(at.state, recipe.optimizer.decay**here.epoch * recipe.schedule.at(progress))
        start = time.perf_counter()
        order = _order(recipe.seed, here.epoch, len(self.dataset))
        picked = order[here.batch * recipe.batch_size : (here.batch + 1) * recipe.batch_size]
        x, y = self.dataset.batch(picked)
        if recipe.labelled is not None:
            y = torch.where(picked < recipe.labelled, y, -1)
        # Seeding every batch makes dropout and random starts independent of where a run was resumed.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(recipe.seed, "batch", here.epoch, here.batch))
            x, y = recipe.augmentation.apply(x).to(self.device), y.to(self.device)
            state, metrics = objective.step(at.state, x, y, progress)
        if not math.isfinite(metrics["loss"]):
            raise InputError(
                f"training: the loss is {metrics['loss']} in epoch {here.epoch + 1}, batch {here.batch + 1}; the last "
                "checkpoint is kept; accepted: a smaller learning rate"
            )
        sums = _added(at.sums, metrics, len(y))
        seconds = at.seconds + time.perf_counter() - start
        if here.batch + 1 < batches:
            after = replace(at, position=Position(here.epoch, here.batch + 1), state=state, sums=sums, seconds=seconds)
        else:
            means = {name: total / len(self.dataset) for name, total in sums.items()}
            record = EpochRecord(here.epoch, means, rate, seconds)
            after = Checkpoint(Position(here.epoch + 1, 0), state, (*at.history, record))
        done = here.epoch * batches + here.batch + 1
        tracker.advance(f"epoch {here.epoch + 1}/{recipe.epochs}, loss {metrics['loss']:.3f}", done)
        if done % recipe.checkpoint_every == 0 or after.position.batch == 0:
            after.save(self.checkpoint, recipe.digest)
        return after


def accuracy(model: nn.Module, dataset: ImageDataset) -> float:
    """Share of samples classified correctly, in eval mode."""
    model.eval()
    hits, device = 0, home_of(model)
    with torch.no_grad():
        for first in range(0, len(dataset), 1000):
            x, y = dataset.batch(slice(first, first + 1000))
            hits += int((model(x.to(device)).argmax(1).cpu() == y).sum())
    return hits / len(dataset)


def _set_rates(state: State, factor: float) -> float:
    """Learning rates as multiples of the first ones, which every optimiser remembers; that of the classifier."""
    for optimizer in state.optimizers.values():
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
            group["lr"] = group["initial_lr"] * factor
    return float(state.optimizers["model"].param_groups[0]["lr"])


@lru_cache(maxsize=1)
def _order(seed: int, epoch: int, samples: int) -> Tensor:
    """Of the samples in an epoch."""
    return torch.randperm(samples, generator=generator(derive_seed(seed, "order", epoch)))


def _added(sums: dict[str, float] | None, metrics: Metrics, samples: int) -> dict[str, float]:
    before = sums or {}
    return {name: before.get(name, 0.0) + samples * value for name, value in metrics.items()}
