"""The figures of the CAPM paper on the weights its authors published."""

from pathlib import Path

import pytest
import torch

from calipers.bounds import CAPM, WorkBudget
from calipers.core.problem import Specification
from calipers.core.threat import ThreatModel
from calipers.data.loading import load_dataset
from calipers.graph.from_torch import from_module
from calipers.models.loading import load_model

SHARED = Path(__file__).parents[3] / "shared"
FILES = SHARED / "reference" / "capm"
ROWS = [
    ("convSmall_normal", 0.03, 65),
    ("convSmall_fgsm", 0.03, 85),
    ("convSmall_pgd", 0.03, 97),
    ("convSmall_pgd", 0.04, 84),
    ("convMed_normal", 0.01, 93),
    ("convMed_fgsm", 0.03, 88),
    ("convMed_pgd", 0.03, 96),
    ("convMed_pgd", 0.04, 89),
]


@pytest.mark.skipif(not FILES.exists(), reason="the published weights are not here (../shared/reference/capm)")
@pytest.mark.parametrize(("name", "epsilon", "published"), ROWS)
def test_capm_verifies_as_many_images_as_published(name: str, epsilon: float, published: int) -> None:
    model = load_model(f"capm.{name.split('_')[0].lower()}", FILES / f"{name}_mnist.safetensors")
    x, y = load_dataset("mnist", limit=100, data_dir=SHARED / "data").batch(range(100))
    keep = model.module(x).argmax(1) == y
    x, y = x[keep], y[keep]
    sets = ThreatModel("linf", epsilon, None, "normalised").for_model(model.std).around(x)
    with torch.no_grad():
        bounds = CAPM.margins(from_module(model.module, x[:2]), sets, Specification.classified_as(y, 10), WorkBudget())
    verified = int(bounds.proven.sum())
    assert abs(verified - published) <= 1
