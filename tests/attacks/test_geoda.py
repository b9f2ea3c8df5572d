"""GeoDA knows answers alone: on planes, whose distance is known in closed form, it comes near."""

import pytest
import torch

from calipers.attacks import run_minimum_norm
from calipers.attacks.geoda import LEAST, GeoDA, ray
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from tests.attacks.linear import exact, linear


@pytest.mark.parametrize("distance", [Distance.LINF, Distance.L2, Distance.L1])
def test_it_is_near_the_plane(distance: Distance) -> None:
    net, problem = linear(3, (20,), distance, (0.0, 1.0))
    result = run_minimum_norm(GeoDA(600), net, problem, 0)
    ratio = result.distance / exact(net, problem)
    assert result.success.all()
    assert not result.backwards.any()
    assert float(ratio.min()) >= 1 - 1e-5
    assert float(ratio.median()) <= 1.15


@pytest.mark.parametrize("distance", list(Distance))
def test_rays_keep_their_size_and_the_domain_and_lead_along_the_normal(distance: Distance) -> None:
    _, problem = linear(3, (20,), distance, (0.0, 1.0))
    normal = torch.randn(problem.center.shape, generator=torch.Generator().manual_seed(2))
    size = torch.full((len(problem),), 2.0 if distance.norm is None else 0.3)
    r = ray(problem, normal, size)
    assert (problem.distance(r) <= size * (1 + 1e-5)).all()
    assert torch.allclose(problem.clip(r), r)
    assert ((normal * r).flatten(1).sum(1) > 0).all()


def test_it_needs_room_for_the_first_points() -> None:
    net, problem = linear(3, (20,), Distance.L2, (0.0, 1.0))
    run_minimum_norm(GeoDA(LEAST), net, problem, 0)
    with pytest.raises(InputError, match=f"accepted: {LEAST} or more"):
        run_minimum_norm(GeoDA(LEAST - 1), net, problem, 0)
