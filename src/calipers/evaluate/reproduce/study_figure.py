"""What figures of studies show."""

from dataclasses import dataclass
from enum import StrEnum


class Beside(StrEnum):
    """Pictures below the panels, from the arrays that the parts of a study leave.

    EXAMPLES: of every part, images in `picture NAME` with the classes they are taken for in `class NAME`; `label` is
    the right one. MAPS: one row a class in `map NAME`, of the first part that has any.
    """

    EXAMPLES = "examples"
    MAPS = "maps"


@dataclass(frozen=True)
class Lines:
    """A panel for each of the studies' panels, with their lines. x, y: labels of the axes. beside: what stands below.

    columns: panels in a row, at most. integer: x counts.
    """

    x: str
    y: str
    beside: Beside | None = None
    columns: int = 3
    integer: bool = False
