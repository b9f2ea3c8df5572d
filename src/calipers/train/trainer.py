"""The training loop, written once for every objective."""

import math
import time
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from calipers.core.devices import CPU
from calipers.core.errors import InputError
from calipers.core.seeds import derive_seed, generator
from calipers.core.tracker import Tracker
from calipers.data.images import ImageDataset
from calipers.models.card import save_model
from calipers.models.loading import LoadedModel, build, load_model
from calipers.models.single import TwoLogits
from calipers.models.whitening import Whitened
from calipers.train.accuracy import accuracy
from calipers.train.averaging import Average
from calipers.train.checkpoint import Checkpoint, EpochRecord, Position, added
from calipers.train.fit import check_fit, check_trainable, two_logits
from calipers.train.log import EpochLog, Unlogged
from calipers.train.objective import DataShape, Objective, Progress, State, fitted
from calipers.train.precision import lowered
from calipers.train.recipe import Recipe
from calipers.train.whitening import behind


@dataclass(frozen=True)
class TrainedModel:
    """A finished training run: the card it was saved under and what it measured."""

    model: LoadedModel
    card: Path
    metrics: dict[str, float]


def steps_of(recipe: Recipe, dataset: ImageDataset) -> int:
    """Optimiser steps that a recipe takes on a data set at most, if nothing ends it early."""
    return recipe.epochs * -(-(len(dataset) - recipe.validation.samples) // recipe.batch_size)


@dataclass(frozen=True, eq=False)
class Trainer:
    """Trains by recipe, epoch by epoch, from the checkpoint beside `out` on, if there is one.

    The final weights are those of an uninterrupted run, bit for bit on a CPU. dataset: to train on, but for the last
    samples if the recipe validates with these. out: card to write (*.json). device: to train on; first weights, order
    and augmentation are drawn on the CPU. log: told of every epoch. Raises InputError where recipe and data do not fit.
    """

    recipe: Recipe
    dataset: ImageDataset
    out: Path
    device: torch.device = CPU
    log: EpochLog = field(default_factory=Unlogged)

    def __post_init__(self) -> None:
        if self.out.suffix != ".json":
            raise InputError(f"out: {self.out} must end in .json; the weights are written beside it as .safetensors")
        labelled, held_back = self.recipe.labelled, self.recipe.validation.samples
        samples = len(self.dataset) - held_back
        if samples < 1:
            most = len(self.dataset) - 1
            raise InputError(f"validation.samples = {held_back}: there are {most + 1} samples; accepted: 0 to {most}")
        if labelled is not None and labelled > samples:
            raise InputError(f"labelled = {labelled}: there are {samples} samples; accepted: 1 to {samples}")
        model, name = self._model(), f"model = {self.recipe.model!r}:"
        check_fit(name, model, self._shape, self.dataset.name, single=True)
        check_trainable(name, model)

    @property
    def checkpoint(self) -> Path:
        """Where unfinished training is kept."""
        return self.out.with_suffix(".checkpoint")

    @cached_property
    def training(self) -> ImageDataset:
        """The samples that are trained on, whitened if the recipe says so."""
        whitening = self.recipe.whitening
        return self._kept if whitening is None else whitening.fitted(self._kept)[1]

    @cached_property
    def validating(self) -> ImageDataset:
        """The samples that validate, likewise."""
        whitening, held_back = self.recipe.whitening, self.dataset.subset(slice(len(self._kept), None))
        return held_back if whitening is None else behind(whitening.fitted(self._kept)[0], held_back)

    @cached_property
    def _kept(self) -> ImageDataset:
        """The samples that do not validate, as they are."""
        held_back = self.recipe.validation.samples
        return self.dataset.head(len(self.dataset) - held_back) if held_back else self.dataset

    def epoch(self, number: int, tracker: Tracker) -> EpochRecord:
        """Train until epoch `number` is over, counted from 0, and keep that; what is over already is not done again."""
        model = lowered(self._model(), self.recipe.precision)
        objective = self._objective(model)
        at = self._start(objective, model)
        while at.position.epoch <= number:
            at = self._batch(objective, at, tracker)
        return at.history[number]

    def finish(self, held_out: ImageDataset) -> dict[str, float]:
        """Save weights and card after the last epoch, with accuracies on both data sets, which are returned."""
        recipe, model = self.recipe, self._model()
        at = self._start(self._objective(model), model)
        assert at.ended
        model = self._chosen(at.state, at.average)
        if at.best is not None:
            model.load_state_dict(at.best.weights)
        whole = self._whole(model)
        metrics = {"train_accuracy": accuracy(model, self.training), "test_accuracy": accuracy(whole, held_out)}
        save_model(
            self._whole(model.model) if isinstance(model, TwoLogits) else whole,
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
        """The network with its first weights, and with a logit for each class, as objectives expect it."""
        model = build(self.recipe.model, derive_seed(self.recipe.seed, "init") % 2**31)[0].to(self.device)
        return two_logits(f"model = {self.recipe.model!r}:", model, self._shape)

    def _whole(self, model: nn.Module) -> nn.Module:
        """The network with the fixed layers that it was trained behind."""
        if self.recipe.whitening is None:
            return model
        return Whitened(deepcopy(self.recipe.whitening.fitted(self._kept)[0]), model).to(self.device)

    def _chosen(self, state: State, average: Average | None) -> nn.Module:
        """The network as it would be saved now, in single precision: the averaged one, if there is one."""
        model = self._model()
        model.load_state_dict(state.model.state_dict() if average is None else average.weights)
        if average is not None:
            self.recipe.averaging.settle(model, self.training)
        return model

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
        order = _order(recipe.seed, here.epoch, len(self.training))
        picked = order[here.batch * recipe.batch_size : (here.batch + 1) * recipe.batch_size]
        x, y = self.training.batch(picked)
        y = y if recipe.labelled is None else torch.where(picked < recipe.labelled, y, -1)
        # Seeding every batch makes dropout and random starts independent of where a run was resumed.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(recipe.seed, "batch", here.epoch, here.batch))
            x, y = recipe.augmentation.apply(x).to(self.device), y.to(self.device)
            state, metrics = objective.step(at.state, x, y, progress)
        if not math.isfinite(metrics["loss"]):
            raise self._diverged(here, f"the loss is {metrics['loss']}")
        after = replace(
            at,
            position=Position(here.epoch, here.batch + 1),
            state=state,
            sums=added(at.sums, metrics, len(y)),
            seconds=at.seconds + time.perf_counter() - start,
            average=recipe.averaging.updated(at.average, state.model, progress),
        )
        ends_epoch = here.batch + 1 == batches
        done = here.epoch * batches + here.batch + 1
        saved = ends_epoch or done % recipe.checkpoint_every == 0
        if saved and not state.finite:
            raise self._diverged(here, "weights are not finite")
        if ends_epoch:
            after = self._after_epoch(after, rate)
        tracker.advance(f"epoch {here.epoch + 1}/{recipe.epochs}, loss {metrics['loss']:.3f}", done)
        if saved:
            after.save(self.checkpoint, recipe.digest)
        if ends_epoch:
            self.log.write(after.history)
        return after

    def _after_epoch(self, at: Checkpoint, rate: float) -> Checkpoint:
        """Where the next epoch begins, with a record of this one."""
        start, epoch, recipe = time.perf_counter(), at.position.epoch, self.recipe
        metrics = {name: total / samples for name, (total, samples) in at.sums.items()}
        best = at.best
        if recipe.validation.samples:
            model = self._chosen(at.state, at.average)
            found = recipe.validation.measured(model, self.validating, recipe.adversary, recipe.seed)
            best = recipe.validation.better(best, found, model, epoch)
            metrics |= found
        ended = epoch + 1 == recipe.epochs or recipe.validation.ends(best, epoch)
        record = EpochRecord(epoch, metrics, rate, at.seconds + time.perf_counter() - start, ended)
        return Checkpoint(Position(epoch + 1, 0), at.state, (*at.history, record), average=at.average, best=best)

    def _diverged(self, here: Position, what: str) -> InputError:
        kept = f"{self.checkpoint} has the last good weights" if self.checkpoint.exists() else "nothing was kept yet"
        return InputError(
            f"training: {what} in epoch {here.epoch + 1}, batch {here.batch + 1}; {kept}; accepted: a smaller "
            f"optimizer.learning_rate than {self.recipe.optimizer.learning_rate:g}"
        )


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
