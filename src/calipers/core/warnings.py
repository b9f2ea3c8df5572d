"""Doubts about numbers, which travel with them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SanityWarning:
    """A reason to doubt the numbers, with its evidence."""

    code: str
    message: str
    evidence: str
