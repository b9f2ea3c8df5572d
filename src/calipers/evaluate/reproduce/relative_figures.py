"""What figures of relative perturbations show."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Levels:
    """A figure of images and what became of them: a column per image, a row per aim."""


@dataclass(frozen=True)
class Matrix:
    """A figure of images pushed to several classes: a row per image, a column per aim."""


@dataclass(frozen=True)
class Gallery:
    """A figure of images and what the first aim made of them: a column per image, a row per network."""


@dataclass(frozen=True)
class Sweep:
    """A figure of test errors and mean perturbations against a weight of the training. label: of that axis."""

    label: str


@dataclass(frozen=True)
class Densities:
    """A figure of how perturbations by the first aim are distributed over images, one curve per label."""
