"""Shares of samples with their uncertainty: one row of every machine-readable output."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """A measured share of the samples with its 95 % interval.

    name: clean, empirical, certified, undecided, attack:NAME or verify:NAME; "|correct" is appended where n counts
    the correctly classified samples only. seconds, slowest: median and largest per sample, where a method was timed.
    """

    name: str
    epsilon: float | None
    measured: float
    n: int
    low: float
    high: float
    seconds: float | None = None
    slowest: float | None = None

    def __str__(self) -> str:
        at = "" if self.epsilon is None else f" at {self.epsilon:g}"
        return f"{self.name}{at}: {self.measured:.1%} ({self.low:.1%} - {self.high:.1%}, n = {self.n})"
