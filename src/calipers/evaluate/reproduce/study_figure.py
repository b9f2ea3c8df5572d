"""What figures of studies show."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Lines:
    """A panel for each of the studies' panels, with their lines. x, y: labels of the axes."""

    x: str
    y: str
