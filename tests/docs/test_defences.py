"""The page of training defences names its objectives and penalties, and their settings."""

import pytest

from calipers.train import OBJECTIVES
from calipers.train.objectives.certified import CertifiedSettings
from calipers.train.objectives.settings import LossSettings
from calipers.train.penalties import PENALTIES, Penalty
from tests.docs.pages import ROOT

# The page of certified training has the others; another test registers one too.
NAMES = [name for name in OBJECTIVES if name != "duel" and not issubclass(OBJECTIVES[name].settings, CertifiedSettings)]


def line_of(name: str) -> str:
    lines = (ROOT / "docs/defences.md").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"| `{name}`")]
    return line


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_named(name: str) -> None:
    own = set(OBJECTIVES[name].settings.model_fields) - set(LossSettings.model_fields)
    assert {field for field in own if f"`{field}`" not in line_of(name)} == set()


@pytest.mark.parametrize("name", sorted(PENALTIES))
def test_every_setting_of_a_penalty_is_named(name: str) -> None:
    own = set(PENALTIES[name].model_fields) - set(Penalty.model_fields)
    assert {field for field in own if f"`{field}`" not in line_of(name)} == set()
