"""A tie within rounding: what only a batch breaks, or only a single pass, is not broken, and ends no run."""

import torch
from torch import Tensor, nn

from calipers.attacks import PGD, Nearest, run_attack, run_minimum_norm
from calipers.attacks.grade import grade
from calipers.core.distances import Distance
from calipers.core.problem import MinimumNormProblem, Specification
from calipers.core.results import Remark


class Rounded(nn.Module):
    """Two classes that part at x = 0.5. In batches the margin is larger by `shift`, as by another order of sums."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        margin = 0.5 - x[:, 0] + (self.shift if len(x) > 1 else 0.0)
        return torch.stack([margin, torch.zeros_like(margin)], 1)


def problem() -> MinimumNormProblem:
    x = torch.tensor([[0.2], [0.3], [0.4]])
    specification = Specification.classified_as(torch.zeros(3, dtype=torch.long), 2)
    return MinimumNormProblem("net", (0, 1, 2), x, Distance.LINF, torch.ones(()), (0.0, 1.0), specification)


def test_both_ways_have_to_agree() -> None:
    x = torch.tensor([[0.5], [0.5 + 2e-6], [0.6]])
    for shift, broken in ((0.0, [True, True, True]), (-1e-6, [True, True, True]), (1e-6, [False, True, True])):
        _, margin = grade(Rounded(shift), problem().specification, x)
        assert (margin <= 0).tolist() == broken
    # Alone it is on the other side, by more than the batch is on this one.
    prediction, margin = grade(Rounded(-1e-3), problem().specification, torch.tensor([[0.4995], [0.3], [0.6]]))
    assert (margin <= 0).tolist() == [False, False, True]
    assert prediction.tolist() == [0, 0, 1]


def test_the_nearest_is_moved_out_until_it_breaks_both_ways() -> None:
    result = run_minimum_norm(Nearest(100), Rounded(-1e-4), problem(), 0)
    assert result.success.all()
    assert (0.5 - result.adversarial <= 0).all()
    exact = 0.5 - problem().center[:, 0]
    assert (result.distance >= exact).all()
    assert (result.distance <= exact * 1.01 + 1e-4).all()


def test_what_breaks_in_a_batch_alone_is_told_and_does_not_count() -> None:
    radius = 0.1 - 5e-5
    result = run_attack(PGD(), Rounded(-1e-4), problem().within(radius), 0)
    assert result.success.tolist() == [False, False, False]
    assert result.remarks[Remark.NOT_CONFIRMED].tolist() == [False, False, True]
