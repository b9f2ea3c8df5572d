"""Chunks within memory, until the time is up."""

import time

import pytest
import torch

from calipers.bounds import OutOfTimeError, WorkBudget
from calipers.bounds.propagation.start import select


def test_chunks_cover_everything_and_are_never_empty() -> None:
    budget = WorkBudget(bytes=100)
    assert [(part.start, part.stop) for part in budget.chunks(7, 40)] == [(0, 2), (2, 4), (4, 6), (6, 7)]
    assert [(part.start, part.stop) for part in budget.chunks(2, 1000)] == [(0, 1), (1, 2)]


@pytest.mark.parametrize(
    "chunks", [lambda b: b.chunks(3, 1), lambda b: select(torch.ones(2, 3, dtype=torch.bool)).chunks(b, 1)]
)
def test_no_chunk_begins_after_the_deadline(chunks) -> None:
    late = WorkBudget().until(time.monotonic() - 1)
    assert late.left < 0
    with pytest.raises(OutOfTimeError):
        next(chunks(late))
    assert len(list(chunks(late.until(time.monotonic() + 60)))) > 0
