"""bfloat16 where it is safe, and nowhere else."""

import pytest
import torch
from pydantic import ValidationError

from calipers.core.errors import InputError
from calipers.data.loading import load_dataset
from calipers.models.loading import build
from calipers.train import OBJECTIVES, Recipe, Trainer, load_recipe
from calipers.train.precision import SAFE, lowered
from calipers.train.recipe import Adversary
from tests.train.needed import NEEDED
from tests.train.test_train import QUICK, QUIET


@pytest.mark.parametrize("objective", SAFE)
def test_safe_objectives_learn_in_bfloat16_much_as_in_single_precision(objective: str, tmp_path) -> None:
    adversary = Adversary(epsilon=0.1, steps=2) if OBJECTIVES[objective].adversarial else None
    losses = []
    for precision in ("single", "bf16"):
        changes = {"objective": objective, "settings": NEEDED.get(objective, {}), "precision": precision}
        recipe = Recipe(**{**QUICK, **changes}, adversary=adversary)
        trainer = Trainer(recipe, load_dataset("digits", "train", 200), tmp_path / f"{precision}.json")
        losses.append([trainer.epoch(epoch, QUIET).metrics["loss"] for epoch in range(2)])
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert losses[0] != losses[1]
    state = torch.load(tmp_path / "bf16.checkpoint", weights_only=True)["state"]
    assert {value.dtype for value in state["networks"]["model"].values()} == {torch.float32}


@pytest.mark.parametrize("objective", ["capm", "critic", "crown-ibp", "ibp", "margin", "mtl-ibp", "sabr", "vat"])
def test_what_is_made_of_bounds_or_of_derivatives_is_refused(objective: str) -> None:
    adversary = Adversary(epsilon=0.1) if OBJECTIVES[objective].adversarial else None
    with pytest.raises(
        ValidationError, match=f"precision = 'bf16': is not safe for objective '{objective}'.*accepted: s"
    ):
        Recipe(model="m", data="d", objective=objective, adversary=adversary, precision="bf16")


def test_a_certified_recipe_in_bfloat16_is_a_clear_error() -> None:
    with pytest.raises(
        InputError, match=r"^recipe digits.certified: precision = 'bf16': is not safe for objective 'ibp'"
    ):
        load_recipe("digits.certified", ["precision=bf16"])
    penalised = ["precision=bf16", 'settings.penalties=[{name="double-backprop", weight=0.1}]']
    with pytest.raises(InputError, match="is not safe for penalties"):
        load_recipe("digits.small", penalised)


def test_logits_of_a_lowered_model_are_single_and_rounded() -> None:
    model = build("digits.small", 0)[0].eval()
    x = torch.rand(5, 1, 8, 8)
    before = model(x)
    after = lowered(model, "bf16")(x)
    assert after.dtype == torch.float32
    assert not torch.equal(before, after)
    assert (before - after).abs().max() < 0.05 * before.abs().max()
    assert torch.equal(after, after.bfloat16().float())
