"""What goes wrong in a training is named, and nothing that was good is lost."""

import errno
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import torch

from calipers.core import files
from calipers.core.errors import InputError, ModelError, StoreError
from calipers.core.tracker import Silent
from calipers.data.loading import load_dataset
from calipers.evaluate.training import history_of, train_in
from calipers.models import card as cards
from calipers.store.store import Store
from calipers.train import Recipe, Trainer
from calipers.train.checkpoint import Checkpoint
from calipers.train.log import CsvLog
from calipers.train.objective import Minimised, Progress, State
from tests.train.test_train import QUICK, QUIET, Data

QUICKER: dict[str, Any] = {**QUICK, "model": "digits.small", "checkpoint_every": 1}


@pytest.fixture(scope="module")
def data() -> Data:
    return load_dataset("digits", "train", 250), load_dataset("digits", "test", 50)


def kept(trainer: Trainer) -> dict[str, torch.Tensor]:
    """The weights in a checkpoint."""
    weights: dict[str, torch.Tensor] = torch.load(trainer.checkpoint, weights_only=True)["state"]["networks"]["model"]
    return weights


@pytest.mark.parametrize("every", [1, 2, 100])
def test_weights_that_explode_stop_a_training_and_the_last_good_ones_are_kept(tmp_path, data: Data, every: int) -> None:
    changes = {"checkpoint_every": every, "optimizer": {"name": "sgd", "learning_rate": 1e36}}
    trainer = Trainer(Recipe(**{**QUICKER, **changes}), data[0], tmp_path / "net.json")
    with pytest.raises(
        InputError, match=r"training: (the loss is (nan|inf)|weights are not finite) in epoch 1, batch \d"
    ):
        trainer.epoch(0, QUIET)
    if trainer.checkpoint.exists():
        assert all(weight.isfinite().all() for weight in kept(trainer).values())


@pytest.mark.parametrize(("broken", "first"), [("loss", False), ("weights", False), ("loss", True)])
def test_what_is_not_finite_is_named_with_its_batch(tmp_path, data: Data, monkeypatch, broken, first) -> None:
    """Planted in the third batch, or in the first one."""
    whole, bad = Minimised.step, 0 if first else 2

    def step(self: Minimised, state: State, x: Any, y: Any, progress: Progress) -> Any:
        after, metrics = whole(self, state, x, y, progress)
        if progress.batch == bad and broken == "loss":
            return after, {"loss": float("nan")}
        if progress.batch == bad:
            next(after.model.parameters()).data.view(-1)[0] = float("inf")
        return after, metrics

    trainer = Trainer(Recipe(**QUICKER), data[0], tmp_path / "net.json")
    monkeypatch.setattr(Minimised, "step", step)
    what = "the loss is nan" if broken == "loss" else "weights are not finite"
    where = "nothing was kept yet" if first else f"{trainer.checkpoint} has the last good weights"
    with pytest.raises(InputError, match=f"{what} in epoch 1, batch {bad + 1}; {where}; accepted: a smaller optimizer"):
        trainer.epoch(0, QUIET)
    assert trainer.checkpoint.exists() != first
    if not first:
        monkeypatch.undo()
        whole_run = Trainer(Recipe(**QUICKER), data[0], tmp_path / "whole.json")
        for one in (trainer, whole_run):  # with what broke it out of the way it goes on
            one.epoch(0, QUIET)
        assert all(torch.equal(value, kept(whole_run)[name]) for name, value in kept(trainer).items())


class Full:
    """A disk on which so many writes succeed and no more, until space is freed."""

    def __init__(self, writes: int) -> None:
        self.left = writes

    def fsync(self, handle: int) -> None:
        if not self.left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.left -= 1


@pytest.mark.parametrize("writes", [0, 3, 9, 12])
def test_a_disk_that_fills_loses_nothing(tmp_path, data: Data, monkeypatch, writes: int) -> None:
    """Checkpoints and the log at every fsync; weights and card come last."""
    recipe = Recipe(**QUICKER)
    found = []
    for name in ("whole", "full"):
        trainer = Trainer(recipe, data[0], tmp_path / f"{name}.json", log=CsvLog(tmp_path / f"{name}.csv"))
        with Store(tmp_path / name) as store:
            if name == "full":
                with monkeypatch.context() as patch:
                    patch.setattr(files.os, "fsync", Full(2 * writes).fsync)
                    with pytest.raises((StoreError, ModelError), match=r"cannot be written .*No space left"):
                        train_in(store, trainer, data[1], "", Silent())
                assert store.runs()[0].status == "failed"
                assert not list(tmp_path.glob(".*.draft"))
            trained = train_in(store, trainer, data[1], "", Silent(), resume=True)
            (run,) = store.runs()
            losses = [record.metrics["loss"] for record in history_of(store, run.run_id)[0]]
            found.append((trained.model.digest, losses, trained.metrics))
    assert found[0] == found[1]
    whole, full = ((tmp_path / f"{name}.csv").read_text().splitlines() for name in ("whole", "full"))
    assert [row.rsplit(",", 1)[0] for row in whole] == [row.rsplit(",", 1)[0] for row in full]


def fill(database: sqlite3.Connection, run_id: str) -> None:
    """Let the file grow no more, and leave no room in its table of records."""
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {pages}")
    place = 100
    for size in (1000, 100, 10, 1):
        while True:
            row = (run_id, "epoch-00000", place, "filling", "x" * size)
            try:
                database.execute("INSERT INTO records VALUES (?,?,?,?,?)", row)
            except sqlite3.OperationalError:  # full
                break
            place += 1


def test_a_store_without_room_loses_no_epoch(tmp_path, data: Data) -> None:
    trainer = Trainer(Recipe(**{**QUICKER, "epochs": 3}), data[0], tmp_path / "net.json")
    with Store(tmp_path) as store:
        database: sqlite3.Connection = store._db
        whole, calls = Checkpoint.save, []

        def save(self: Checkpoint, path: Path, digest: str) -> None:
            whole(self, path, digest)
            calls.append(1)
            if len(calls) == 7:  # in the second epoch
                fill(database, store.runs()[0].run_id)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Checkpoint, "save", save)
            with pytest.raises(StoreError, match=r"full.*free some space and repeat with --resume"):
                train_in(store, trainer, data[1], "", Silent())
        database.execute("PRAGMA max_page_count = 1000000")
        database.execute("DELETE FROM records WHERE part = 'filling'")
        trained = train_in(store, trainer, data[1], "", Silent(), resume=True)
        epochs, accuracies = history_of(store, store.runs()[0].run_id)
    assert [record.epoch for record in epochs] == [0, 1, 2]
    assert accuracies == trained.metrics


def test_a_card_without_room_is_written_on_resume(tmp_path, data: Data, monkeypatch) -> None:
    trainer = Trainer(Recipe(**QUICKER), data[0], tmp_path / "net.json")

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Store(tmp_path) as store:
        with monkeypatch.context() as patch:
            patch.setattr(cards, "write_whole", full)
            with pytest.raises(ModelError, match="No space left"):
                train_in(store, trainer, data[1], "", Silent())
        assert trainer.checkpoint.exists()
        train_in(store, trainer, data[1], "", Silent(), resume=True)
        assert len(store.runs()) == 1
    assert trainer.out.exists()
    assert not trainer.checkpoint.exists()
