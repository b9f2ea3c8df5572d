"""Trainings that are killed with SIGKILL, in processes that cost no start of the interpreter.

    python -m tests.train.killed FOLDER KILLS SEED NAME...

Every objective named trains once in peace and once with so many kills, each at a random moment of a random step; what
is left are the checkpoints after the last epoch, FOLDER/NAME.whole.checkpoint and FOLDER/NAME.killed.checkpoint. One
line each tells after how many steps, in the order of the kills, training was dead. Children are forks of this process,
which has one thread.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import torch

from calipers.core.tracker import Silent, Tracker
from calipers.data.loading import load_dataset
from calipers.train import OBJECTIVES, Recipe, Trainer
from calipers.train.augmentation import Augmentation
from calipers.train.recipe import Adversary
from calipers.train.schedule import Schedule
from tests.train.needed import NEEDED

# So that everything which changes has changed, and has been put back, by the end.
SETTINGS = {
    **NEEDED,
    "critic": {"hidden": [16, 16], "steps": 2},
    "distillation": {"share": 0.5},
    "fast": {"most_lost": 0.0},
    "standard": {"penalties": [{"name": "curvature", "weight": 0.1}, {"name": "parseval", "weight": 0.01}]},
}
EPOCHS, SAMPLES, BATCH, EVERY = 3, 120, 30, 3
STEPS = EPOCHS * SAMPLES // BATCH


def recipe(name: str) -> Recipe:
    """Small, with a schedule, augmentation, and a radius that grows in all epochs but the last."""
    kind = OBJECTIVES[name]
    return Recipe(
        model="digits.maxpool",
        data="digits",
        objective=name,
        settings=SETTINGS.get(name, {}),
        adversary=Adversary(epsilon=0.1, steps=2, warmup=EPOCHS - 1) if kind.adversarial else None,
        epochs=EPOCHS,
        batch_size=BATCH,
        labelled=SAMPLES // 2 if kind.unlabelled else None,
        checkpoint_every=EVERY,
        schedule=Schedule(shape="cosine"),
        augmentation=Augmentation(shift=1),
    )


@dataclass(frozen=True)
class Telling:
    """A tracker that writes a byte for every step."""

    pipe: int

    def advance(self, doing: str, done: int) -> None:
        os.write(self.pipe, b".")


def train(trainer: Trainer, tracker: Tracker) -> None:
    for epoch in range(EPOCHS):
        trainer.epoch(epoch, tracker)


def killed_once(trainer: Trainer, random_: random.Random) -> int | None:
    """Train in a child until it is dead by SIGKILL; the steps that it had told of, or None if it was done before."""
    steps, told = random_.randint(0, STEPS), 0
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        status = 1
        try:
            train(trainer, Telling(writing))
            status = 0
        except BaseException:
            traceback.print_exc()
        os._exit(status)
    os.close(writing)
    while told < steps and os.read(reading, 1):
        told += 1
    # Somewhere in the step, or while the checkpoint is written; that this is no exact moment is the point.
    time.sleep(random_.uniform(0, 0.01))
    os.kill(child, signal.SIGKILL)
    os.close(reading)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return told
    assert status == 0, "the training failed"
    return None


def main() -> None:
    folder, kills, seed, names = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    torch.set_num_threads(1)
    data = load_dataset("digits", "train", SAMPLES)
    random_ = random.Random(seed)
    for name in names:
        train(Trainer(recipe(name), data, folder / f"{name}.whole.json"), Silent())
        trainer = Trainer(recipe(name), data, folder / f"{name}.killed.json")
        deaths = [killed_once(trainer, random_) for _ in range(kills)]
        train(trainer, Silent())
        print(json.dumps({"objective": name, "deaths": deaths}), flush=True)


if __name__ == "__main__":
    main()
