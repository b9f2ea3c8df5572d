import numpy as np
import pytest
from scipy.stats import wilcoxon

from calipers.core.errors import InputError
from calipers.repairs.selection import p_values, selected


def test_every_feature_is_tested_as_if_alone() -> None:
    rng = np.random.default_rng(0)
    clean = rng.normal(size=(30, 6))
    adversarial = clean + rng.normal(size=(30, 6)) * 0.1 + np.array([0, 0.1, 0, -0.2, 0, 0])
    adversarial[:, 4] = clean[:, 4]
    found = p_values(clean, adversarial)
    for feature in (0, 1, 2, 3, 5):
        alone = wilcoxon(adversarial[:, feature] - clean[:, feature], method="asymptotic").pvalue
        assert found[feature] == pytest.approx(alone)
    assert found[4] == 1
    assert selected(found)[[1, 3]].all()
    assert not selected(found)[4]


def test_of_features_that_nothing_shifts_about_a_tenth_is_kept_and_almost_none_with_false_discovery_control() -> None:
    rng = np.random.default_rng(1)
    p = p_values(np.zeros((60, 4000)), rng.normal(size=(60, 4000)))
    assert 0.08 < selected(p).mean() < 0.12
    assert selected(p, false_discovery=True).sum() <= 5


def test_false_discovery_control_keeps_what_is_truly_shifted() -> None:
    rng = np.random.default_rng(2)
    shift = np.where(np.arange(2000) < 200, 2.0, 0.0)
    p = p_values(np.zeros((60, 2000)), rng.normal(size=(60, 2000)) + shift)
    kept = selected(p, false_discovery=True)
    assert kept[:200].all()
    assert kept[200:].sum() <= 0.2 * kept.sum()


def test_bad_input() -> None:
    with pytest.raises(InputError, match="level 1"):
        selected(np.ones(3), 1.0)
    with pytest.raises(InputError, match=r"shape \(1, 3\)"):
        p_values(np.ones((1, 3)), np.ones((1, 3)))
