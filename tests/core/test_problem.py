import pytest
import torch
from torch import nn

from calipers.core.errors import InputError
from calipers.core.problem import Problem, Specification
from calipers.core.results import Counterexample, Termination
from calipers.core.sets import Box


def test_robustness_rows_are_the_margins_to_every_other_class() -> None:
    rows = Specification.classified_as(torch.tensor([1]), 3).margins(torch.tensor([[1.0, 5.0, 2.0]]))
    assert rows.tolist() == [[4.0, 3.0]]


def test_a_tie_breaks_the_specification() -> None:
    rows = Specification.classified_as(torch.tensor([0]), 2).margins(torch.tensor([[1.0, 1.0]]))
    assert not bool((rows > 0).all())


def problem() -> Problem:
    sets = Box(torch.zeros(2, 2), torch.ones(2, 2))
    return Problem("digest", (7, 9), sets, Specification.classified_as(torch.tensor([0, 1]), 2))


def test_problems_index_like_tensors() -> None:
    assert problem()[1:].sample_id == (9,)
    assert len(problem()[torch.tensor([0])]) == 1


def test_counterexamples_are_replayed() -> None:
    identity = nn.Identity()
    found = Counterexample.replay(identity, problem()[:1], torch.tensor([[0.2, 0.9]]))
    assert found.margin == pytest.approx(-0.7)
    with pytest.raises(InputError, match="does not break"):
        Counterexample.replay(identity, problem()[:1], torch.tensor([[0.9, 0.2]]))
    with pytest.raises(InputError, match=r"sample 7 .* outside"):
        Counterexample.replay(identity, problem()[:1], torch.tensor([[0.2, 1.5]]))


def test_every_termination_tells_its_remedy() -> None:
    assert all(termination.remedy for termination in Termination)
