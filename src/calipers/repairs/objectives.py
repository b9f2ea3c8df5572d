"""What makes one repair smaller than another: the effect on clean data, or how many weights change."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from calipers.core.tracker import Tracker
from calipers.repairs.metric import Metric
from calipers.repairs.quadratic import Clash, Optimum, least_change
from calipers.repairs.rows import Rows


@runtime_checkable
class Objective(Protocol):
    """A size of changes."""

    @property
    def name(self) -> str: ...

    def least_change(self, rows: Rows, start: Optimum | None, tracker: Tracker) -> Optimum | Clash:
        """The smallest change that fulfils the rows. start: the optimum of the first so many of them."""


@dataclass(frozen=True, eq=False)
class Mahalanobis:
    """tr(G S G^T): how much outputs move on clean data; with a ridge of infinity, the squared Frobenius norm."""

    metric: Metric
    name: str = "mahalanobis"

    def least_change(self, rows: Rows, start: Optimum | None, tracker: Tracker) -> Optimum | Clash:
        """See `Objective`."""
        return least_change(rows, self.metric, start, tracker)
