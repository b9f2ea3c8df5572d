"""What models are called beside each other, and how they came to be."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from calipers.models.card import read_card


def distinct(references: Sequence[str | Path]) -> list[str]:
    """File names without their folders and without .json; whole references where these would be the same."""
    texts = [str(one) for one in references]
    short = [Path(text).stem if Path(text).suffix == ".json" else Path(text).name for text in texts]
    return [one if short.count(one) == 1 else text for one, text in zip(short, texts, strict=True)]


def made(reference: str | Path) -> str:
    """How the model of a card was trained: "pgd, linf 0.1, 30 epochs"; nothing for other references."""
    if Path(reference).suffix != ".json":
        return ""
    recipe: dict[str, Any] = read_card(Path(reference)).recipe
    if "objective" not in recipe:
        return ""
    adversary = recipe.get("adversary")
    against = [] if adversary is None else [f"{adversary['norm']} {adversary['epsilon']:g}"]
    return ", ".join([str(recipe["objective"]), *against, f"{recipe['epochs']} epochs"])
