"""Weights that come with the package, each with the card that `calipers train` wrote beside it."""

from pathlib import Path

_FOLDER = Path(__file__).with_name("weights")


def pretrained_card(name: str) -> Path | None:
    """The card of the weights that a network of the zoo comes with; None where it comes with none."""
    card = _FOLDER / f"{name}.json"
    return card if card.is_file() else None
