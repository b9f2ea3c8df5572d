"""Training as a run: history and accuracies in the store; a killed one goes on and ends with the same weights."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from calipers.core.tracker import Silent
from calipers.data.images import ImageDataset
from calipers.data.loading import load_dataset
from calipers.evaluate.training import CODEC, history_of, train_in
from calipers.models.card import read_card
from calipers.report.views import view_of
from calipers.store.store import Store
from calipers.train import Recipe, Trainer

RECIPE = Recipe(model="digits.maxpool", data="digits", epochs=3, batch_size=50, samples=200)


@pytest.fixture(scope="module")
def data() -> tuple[ImageDataset, ImageDataset]:
    return load_dataset("digits", "train", 200), load_dataset("digits", "test", 100)


def test_every_epoch_and_the_accuracies_are_kept_and_shown(
    data: tuple[ImageDataset, ImageDataset], tmp_path: Path
) -> None:
    with Store(tmp_path) as store:
        trainer = Trainer(RECIPE, data[0], tmp_path / "net.json")
        trained = train_in(store, trainer, data[1], "calipers train", Silent())
        (run,) = store.runs()
        epochs, accuracies = history_of(store, run.run_id)
        page = view_of(store, run.run_id).html()
    assert [record.epoch for record in epochs] == [0, 1, 2]
    losses = [record.metrics["loss"] for record in epochs]
    assert losses[2] < losses[0]
    assert accuracies == trained.metrics
    assert run.status == "complete"
    assert not trainer.checkpoint.exists()
    assert "Learning curve" in page
    assert f"{losses[2]:.4g}" in page


class Stop:
    def __init__(self, after: int) -> None:
        self.after = after

    def advance(self, doing: str, done: int) -> None:
        if done == self.after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("after", [3, 4, 6, 12])
def test_an_interrupted_training_goes_on_to_the_same_weights_and_history(
    after: int, data: tuple[ImageDataset, ImageDataset], tmp_path: Path
) -> None:
    found = []
    for name, stop in (("whole", None), ("parts", after)):
        with Store(tmp_path / name) as store:
            trainer = Trainer(RECIPE, data[0], tmp_path / f"{name}.json")
            if stop is not None:
                with pytest.raises(KeyboardInterrupt):
                    train_in(store, trainer, data[1], "", Stop(stop))
                assert store.runs()[0].status == "interrupted"
            trained = train_in(store, trainer, data[1], "", Silent(), resume=True)
            (run,) = store.runs()
            records = store.records(run.run_id, CODEC)
            found.append((trained.model.digest, [(r.epoch, r.metrics, r.learning_rate) for r in records]))
    assert found[0] == found[1]


@pytest.mark.full  # test_killed.py kills every objective, test_kill.py a run of the store
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    lines = ['model = "digits.maxpool"', 'data = "digits"', "epochs = 8", "batch_size = 50", "checkpoint_every = 5"]
    recipe.write_text("\n".join(lines))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def command(name: str, *more: str) -> list[str]:
        out = ["--out", str(tmp_path / f"{name}.json"), "--runs", str(tmp_path / name)]
        return [sys.executable, "-m", "calipers", "train", str(recipe), *out, *more]

    subprocess.run(command("whole"), env=environment, check=True, capture_output=True)
    for _ in range(2):
        process = subprocess.Popen(command("parts", "--resume"), env=environment, stderr=subprocess.DEVNULL)
        checkpoint, before = tmp_path / "parts.checkpoint", 0.0
        if checkpoint.exists():
            before = checkpoint.stat().st_mtime
        while process.poll() is None and not (checkpoint.exists() and checkpoint.stat().st_mtime > before):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command("parts", "--resume"), env=environment, check=True, capture_output=True)
    assert read_card(tmp_path / "parts.json").model_digest == read_card(tmp_path / "whole.json").model_digest
    with Store(tmp_path / "parts") as store:
        (run,) = store.runs()
        assert [record.epoch for record in history_of(store, run.run_id)[0]] == list(range(8))
