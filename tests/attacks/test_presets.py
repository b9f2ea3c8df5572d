import pytest

from calipers.attacks import ATTACKS, MINIMUM_NORM_ATTACKS
from calipers.attacks.presets import GROUPS, expand
from calipers.core.distances import Distance
from calipers.core.norms import Norm


@pytest.mark.parametrize("norm", list(Norm))
def test_groups_grow_and_know_the_norm(norm: Norm) -> None:
    fast, standard, strong = (set(expand((group,), norm)) for group in GROUPS)
    assert fast
    assert fast < standard < strong
    for name in strong:
        if name in ATTACKS:
            assert norm in ATTACKS[name].norms
        else:
            assert Distance(norm) in MINIMUM_NORM_ATTACKS[name](100).distances


def test_strong_leaves_out_random_points_only() -> None:
    known = {name for name in ATTACKS if Norm.LINF in ATTACKS[name].norms}
    left = known - set(expand(("strong",), Norm.LINF))
    assert left == {name for name in known if name.startswith("monte-carlo")}


def test_other_names_stay_and_none_comes_twice() -> None:
    assert expand(("foolbox:LinfPGD", "pgd", "fast"), Norm.LINF) == ("foolbox:LinfPGD", "pgd", "fgsm")
