"""One-Pixel against brute force over all pixels."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from calipers.attacks import OnePixel, run_minimum_norm
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.core.problem import MinimumNormProblem, Specification
from tests.attacks.linear import SHAPES, exact, linear
from tests.nets import dense


def task(size: int, domain: tuple[float, float] | None = (0.0, 1.0)) -> tuple[nn.Module, MinimumNormProblem]:
    """A network that a pixel breaks or not: linear in every pixel, so the worst values are in the corners."""
    torch.manual_seed(4)
    net = nn.Sequential(nn.Flatten(), nn.Linear(2 * size * size, 3)).requires_grad_(False)
    x = torch.rand(16, 2, size, size)
    labels = net(x).argmax(1)
    specification = Specification.classified_as(labels, 3)
    return net, MinimumNormProblem(
        "net", tuple(range(16)), x, Distance.L0_PIXELS, torch.tensor(1.0), domain, specification
    )


def breakable(net: nn.Module, problem: MinimumNormProblem) -> Tensor:
    """Whether one pixel is enough, and by how much at best: the smallest row over all pixels and all corners."""
    least = torch.full((len(problem),), torch.inf)
    for row in range(problem.center.shape[2]):
        for column in range(problem.center.shape[3]):
            for corner in torch.cartesian_prod(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0])):
                x = problem.center.clone()
                x[:, :, row, column] = corner
                least = torch.minimum(least, problem.specification.margins(net(x)).amin(1))
    return least


def test_it_finds_the_pixel_wherever_brute_force_finds_one() -> None:
    net, problem = task(5)
    least = breakable(net, problem)
    # The search is random: what a hair's breadth breaks, it may miss.
    sure, impossible = least < -0.02, least > 0
    assert int(sure.sum()) >= 3
    assert int(impossible.sum()) >= 3
    result = run_minimum_norm(OnePixel(4000, pixels=(1,)), net, problem, 0)
    assert (result.distance[sure] == 1).all()
    assert not result.success[impossible].any()


def test_it_is_never_below_the_exact_count_and_stays_in_the_domain() -> None:
    for classes, shape in SHAPES:
        net, problem = linear(classes, shape, Distance.L0_PIXELS, (0.0, 1.0))
        result = run_minimum_norm(OnePixel(6000), net, problem, 0)
        found = result.success
        assert found.any()
        assert problem.admits(result.adversarial).all()
        assert (result.distance >= exact(net, problem))[found].all()
        assert (result.distance <= 12)[found].all()
        # The search is random: it may miss a single pixel.
        assert (result.distance[exact(net, problem) == 1] == 1).float().mean() >= 0.8


@pytest.mark.parametrize("shape", [(9,), (3, 7), (2, 4, 5)])
@pytest.mark.parametrize("domain", [None, (-1.0, 2.0)])
def test_every_shape_has_pixels(shape: tuple[int, ...], domain: tuple[float, float] | None) -> None:
    net, problem = linear(3, shape, Distance.L0_PIXELS, domain)
    dense(net, 1).bias[0] = 1e3
    safe = Specification.classified_as(torch.zeros(12, dtype=torch.long), 3)
    problem = replace(problem, specification=safe)
    seen = []
    handle = net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    run_minimum_norm(OnePixel(200, pixels=(1, 2)), net, problem, 0)
    handle.remove()
    assert len(seen) >= 199
    counts = torch.stack([problem.measure(x) for x in seen])
    assert set(counts.unique().tolist()) == {0, 1, 2}
    changed = torch.stack([x != problem.center for x in seen]).any(0)
    # One search alone may gather early, all together leave no place out.
    assert changed.any(0).all()
    if domain is None:
        assert max(float((x - problem.center).abs().max()) for x in seen) > float(problem.scale)
    else:
        low, high = min(float(x.min()) for x in seen), max(float(x.max()) for x in seen)
        assert (low, high) == domain


def test_small_inputs_have_no_more_pixels_than_they_have() -> None:
    net, problem = linear(2, (4,), Distance.L0_PIXELS, (0.0, 1.0))
    result = run_minimum_norm(OnePixel(400), net, problem, 0)
    assert (result.forwards <= 400).all()
    assert (result.distance[result.success] <= 4).all()


def test_evolution_gets_nearer_than_random_members_alone() -> None:
    """The same passes, as one generation and as many."""
    net, problem = linear(10, (1, 8, 8), Distance.L0_PIXELS, (0.0, 1.0))
    evolved = run_minimum_norm(OnePixel(2000), net, problem, 0)
    drawn = run_minimum_norm(OnePixel(2000, generations=0), net, problem, 0)
    assert (drawn.forwards <= evolved.forwards.max()).all()
    assert evolved.success.sum() >= drawn.success.sum()
    assert evolved.distance.nan_to_num(posinf=100).mean() < drawn.distance.nan_to_num(posinf=100).mean()


def test_seeds_and_sample_ids_decide_the_draws() -> None:
    net, problem = task(4)
    one, again, other = (run_minimum_norm(OnePixel(300), net, problem, seed).adversarial for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    same = replace(problem[[0, 0]], sample_id=(7, 7))
    twin = run_minimum_norm(OnePixel(300), net, same, 0).adversarial
    assert torch.equal(twin[0], twin[1])


def test_what_makes_no_sense_is_refused() -> None:
    net, problem = task(4)
    with pytest.raises(InputError, match="20 propagations for 5 numbers of pixels; accepted: 21 or more"):
        run_minimum_norm(OnePixel(20), net, problem, 0)
    assert (run_minimum_norm(OnePixel(21), net, problem, 0).forwards <= 21).all()
    for pixels in ((), (0, 1), (3, 1), (1, 1)):
        with pytest.raises(InputError, match="rising numbers from 1 on"):
            OnePixel(100, pixels=pixels)
    with pytest.raises(InputError, match="4 or more"):
        OnePixel(100, population=3)
