"""Training on another device ends with the weights of the CPU, for every objective."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from calipers.core.tracker import Silent
from calipers.data.loading import load_dataset
from calipers.models.loading import load_model
from calipers.train import OBJECTIVES, Trainer
from calipers.train.averaging import Averaging
from calipers.train.validation import Validation
from tests.elsewhere import elsewhere
from tests.train.killed import recipe

SAMPLES, BATCH = 8, 4


def trained(name: str, path: Path, device: torch.device, epochs: int, **changes: Any) -> dict[str, Any]:
    """The parts of the state after some of three epochs."""
    labelled = SAMPLES // 2 if OBJECTIVES[name].unlabelled else None
    small = recipe(name).model_copy(update={"batch_size": BATCH, "samples": SAMPLES, "labelled": labelled, **changes})
    trainer = Trainer(small, load_dataset("digits", "train", SAMPLES), path, device)
    for epoch in range(epochs):
        trainer.epoch(epoch, Silent())
    return torch.load(trainer.checkpoint, weights_only=True)["state"]


NAMES = [name for name in OBJECTIVES if name != "duel"]  # that one another test registers
# One loss, the two with tensors of their own, and one with bounds; `full` goes through all.
SOME = ("standard", "fast", "critic", "ibp")


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in SOME else pytest.mark.full) for name in NAMES])
def test_training_elsewhere_ends_with_the_weights_of_the_cpu(name: str, tmp_path: Path) -> None:
    here = trained(name, tmp_path / "here.json", torch.device("cpu"), 2)
    with elsewhere() as device:
        trained(name, tmp_path / "there.json", device, 1)
        there = trained(name, tmp_path / "there.json", device, 2)
    # Gradients that meet are added in another order there.
    torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-6)


def test_averages_validation_and_the_card_follow_the_device(tmp_path: Path) -> None:
    changes = {"averaging": Averaging(kind="ema"), "validation": Validation(samples=2)}
    cards = {}
    for place in (nullcontext(torch.device("cpu")), elsewhere()):
        with place as device:
            path = tmp_path / f"{device.type}.json"
            for epochs in (1, 3):  # the second goes on from what the first has kept
                trained("pgd", path, device, epochs, **changes)
            asked = recipe("pgd").model_copy(update={"batch_size": BATCH, "samples": SAMPLES, **changes})
            trainer = Trainer(asked, load_dataset("digits", "train", SAMPLES), path, device)
            trainer.finish(load_dataset("digits", "test", 20))
            cards[device.type] = load_model(str(path)).module.state_dict()
    torch.testing.assert_close(cards["elsewhere"], cards["cpu"], rtol=1e-4, atol=1e-6)
