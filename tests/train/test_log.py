"""Logs hold every epoch, whatever happened in between."""

import csv
import sys
from pathlib import Path
from typing import Any

import pytest

from calipers.core.errors import InputError, StoreError
from calipers.data.loading import load_dataset
from calipers.train import Recipe, Trainer
from calipers.train.checkpoint import EpochRecord
from calipers.train.log import CsvLog, TensorboardLog, Unlogged, log_of
from tests.train.test_train import QUICK, QUIET

HISTORY = (
    EpochRecord(0, {"loss": 2.5}, 1e-3, 1.5),
    EpochRecord(1, {"loss": 0.25, "robust": 0.5}, 5e-4, 1.25, ended=True),
)


def test_a_table_has_a_row_per_epoch_and_a_column_per_metric(tmp_path: Path) -> None:
    log = CsvLog(tmp_path / "net.csv")
    for n in (1, 2):
        log.write(HISTORY[:n])
    with (tmp_path / "net.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"epoch": "1", "loss": "2.5", "robust": "", "learning_rate": "0.001", "seconds": "1.5"},
        {"epoch": "2", "loss": "0.25", "robust": "0.5", "learning_rate": "0.0005", "seconds": "1.25"},
    ]
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"log .*cannot be written .*--resume"):
        CsvLog(tmp_path / "file" / "net.csv").write(HISTORY)


def test_a_training_tells_its_log_every_epoch(tmp_path: Path) -> None:
    recipe = Recipe(**QUICK)
    trainer = Trainer(
        recipe, load_dataset("digits", "train", 100), tmp_path / "net.json", log=CsvLog(tmp_path / "net.csv")
    )
    records = [trainer.epoch(epoch, QUIET) for epoch in range(recipe.epochs)]
    with (tmp_path / "net.csv").open() as file:
        assert [float(row["loss"]) for row in csv.DictReader(file)] == [record.metrics["loss"] for record in records]


class Writer:
    def __init__(self) -> None:
        self.told: list[tuple[str, float, int]] = []
        self.flushed = 0

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.told.append((name, value, step))

    def flush(self) -> None:
        self.flushed += 1


def test_tensorboard_is_told_all_epochs_first_and_then_each_new_one() -> None:
    writer, steps = Writer(), []

    def opened(step: int) -> Any:
        steps.append(step)
        return writer

    first = TensorboardLog(opened)
    first.write(HISTORY[:1])
    assert writer.told == [("loss", 2.5, 1), ("learning_rate", 1e-3, 1)]
    first.write(HISTORY)
    assert writer.told[2:] == [("loss", 0.25, 2), ("robust", 0.5, 2), ("learning_rate", 5e-4, 2)]
    resumed = TensorboardLog(opened)
    resumed.write(HISTORY)
    assert writer.told[5:] == writer.told[:5]
    assert steps == [1, 1]  # what older files hold from there on is void
    assert writer.flushed == 3


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for n in (1, 2):  # the second as after a stop
        log_of("tensorboard", tmp_path / "net.json").write(HISTORY[:n])
    events = EventAccumulator(str(tmp_path / "net.tensorboard"))
    events.Reload()
    assert [(one.step, one.value) for one in events.Scalars("loss")] == [(1, 2.5), (2, 0.25)]
    assert [(one.step, one.value) for one in events.Scalars("robust")] == [(2, 0.5)]


def test_logs_lie_beside_the_card(tmp_path: Path, monkeypatch) -> None:
    assert isinstance(log_of(None, tmp_path / "net.json"), Unlogged)
    assert log_of("csv", tmp_path / "net.json") == CsvLog(tmp_path / "net.csv")
    with pytest.raises(InputError, match="accepted: csv, tensorboard"):
        log_of("wandb", tmp_path / "net.json")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match="tensorboard is not installed; accepted: pip install"):
        log_of("tensorboard", tmp_path / "net.json")
