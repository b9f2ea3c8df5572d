"""The training loop, written once for every objective."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from calipers.core.errors import InputError
from calipers.core.seeds import derive_seed, generator
from calipers.data.images import ImageDataset
from calipers.models.card import save_model
from calipers.models.loading import LoadedModel, build, load_model
from calipers.models.normalise import input_std
from calipers.train.checkpoint import Position, load_checkpoint, save_checkpoint
from calipers.train.objective import AdversarialPGD, Objective, Standard
from calipers.train.recipe import Recipe

Tell = Callable[[str, int], None]


@dataclass(frozen=True)
class Trained:
    """A finished training run: the card it was saved under and what it measured."""

    model: LoadedModel
    card: Path
    metrics: dict[str, float]


def steps_of(recipe: Recipe, dataset: ImageDataset) -> int:
    """Optimiser steps that a recipe takes on a data set."""
    return recipe.epochs * -(-len(dataset) // recipe.batch_size)


def train(
    recipe: Recipe, dataset: ImageDataset, held_out: ImageDataset, out: Path, tell: Tell, *, resume: bool = False
) -> Trained:
    """Train by recipe and save safetensors and card under `out` (*.json).

    dataset, held_out: for training and for the metrics on the card. tell: called with (what, steps done) after every
    step. resume: go on from the checkpoint beside `out`, if there is one; the final weights are those of an
    uninterrupted run, bit for bit on a CPU. The checkpoint is removed at the end.
    """
    if out.suffix != ".json":
        raise InputError(f"out: {out} must end in .json; the weights are written beside it as .safetensors")
    model, _ = build(recipe.model, derive_seed(recipe.seed, "init") % 2**31)
    _check_fit(model, dataset)
    objective = _objective(recipe, model)
    optimizer = _optimizer(recipe, model)
    checkpoint = out.with_suffix(".checkpoint")
    position = Position(0, 0)
    if resume and checkpoint.exists():
        position = load_checkpoint(checkpoint, recipe.digest, model, optimizer)
    batches = steps_of(recipe, dataset) // recipe.epochs
    done = position.epoch * batches + position.batch
    tell("training", done)

    for epoch in range(position.epoch, recipe.epochs):
        order = torch.randperm(len(dataset), generator=generator(derive_seed(recipe.seed, "order", epoch)))
        for group in optimizer.param_groups:
            group["lr"] = recipe.optimizer.learning_rate * recipe.optimizer.decay**epoch
        for batch in range(position.batch if epoch == position.epoch else 0, batches):
            part = order[batch * recipe.batch_size : (batch + 1) * recipe.batch_size]
            loss = _step(recipe, Position(epoch, batch), model, objective, optimizer, *dataset.batch(part))
            done += 1
            tell(f"epoch {epoch + 1}/{recipe.epochs}, loss {loss:.3f}", done)
            if done % recipe.checkpoint_every == 0:
                following = Position(epoch, batch + 1) if batch + 1 < batches else Position(epoch + 1, 0)
                save_checkpoint(checkpoint, recipe.digest, following, model, optimizer)
    metrics = {"train_accuracy": accuracy(model, dataset), "test_accuracy": accuracy(model, held_out)}
    save_model(
        model,
        out,
        architecture=recipe.model,
        recipe=recipe.model_dump(mode="json"),
        seed=recipe.seed,
        data_digest=dataset.digest,
        metrics=metrics,
    )
    checkpoint.unlink(missing_ok=True)
    return Trained(load_model(str(out)), out, metrics)


def accuracy(model: nn.Module, dataset: ImageDataset) -> float:
    """Share of samples classified correctly, in eval mode."""
    model.eval()
    hits = 0
    with torch.no_grad():
        for first in range(0, len(dataset), 1000):
            x, y = dataset.batch(slice(first, first + 1000))
            hits += int((model(x).argmax(1) == y).sum())
    return hits / len(dataset)


def _step(
    recipe: Recipe,
    at: Position,
    model: nn.Module,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
) -> float:
    # Seeding every batch makes dropout and random starts independent of where a run was resumed.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(recipe.seed, "batch", at.epoch, at.batch))
        model.train()
        optimizer.zero_grad(set_to_none=True)
        loss = objective.loss(model, x, y)
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def _objective(recipe: Recipe, model: nn.Module) -> Objective:
    if recipe.adversary is None:
        return Standard()
    threat = recipe.adversary.threat.for_model(input_std(model))
    length = recipe.adversary.step_size or 2.5 / recipe.adversary.steps
    return AdversarialPGD(threat, recipe.adversary.steps, length)


def _optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    rate, weight_decay = recipe.optimizer.learning_rate, recipe.optimizer.weight_decay
    if recipe.optimizer.name == "adam":
        return torch.optim.Adam(model.parameters(), rate, weight_decay=weight_decay)
    return torch.optim.SGD(model.parameters(), rate, momentum=0.9, weight_decay=weight_decay)


def _check_fit(model: nn.Module, dataset: ImageDataset) -> None:
    try:
        with torch.no_grad():
            outputs = model.eval()(dataset.batch([0])[0]).shape[-1]
    except RuntimeError as error:
        raise InputError(f"recipe: the model does not take images of shape {dataset.input_shape} ({error})") from error
    if outputs != len(dataset.class_names):
        raise InputError(
            f"recipe: the model has {outputs} outputs, {dataset.name} has {len(dataset.class_names)} classes"
        )
