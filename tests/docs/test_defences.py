"""The page of training defences names its objectives and their settings."""

import pytest

from calipers.train import OBJECTIVES
from tests.docs.pages import ROOT


@pytest.mark.parametrize(
    "name", ["standard", "fgsm", "fast", "pgd", "trades", "ensemble", "vat", "distillation", "critic"]
)
def test_every_setting_is_named(name: str) -> None:
    lines = (ROOT / "docs/defences.md").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"| `{name}`")]
    missing = [field for field in OBJECTIVES[name].settings.model_fields if f"`{field}`" not in line]
    assert missing == []
