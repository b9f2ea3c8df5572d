"""Where the weights of a reproduction come from."""

from dataclasses import dataclass

from calipers.train import Recipe


@dataclass(frozen=True)
class Published:
    """Weights that the authors publish: a file in the folder that the user names."""

    architecture: str
    file: str


@dataclass(frozen=True)
class Trained:
    """Weights by our own recipe. repeat: added to the seed, for several networks of one recipe."""

    recipe: Recipe
    repeat: int = 0
