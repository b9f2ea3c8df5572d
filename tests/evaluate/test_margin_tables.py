"""The tables and figures of margin maximisation, on scikit-learn's digits: what is planned, measured and drawn."""

import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import pytest
import torch
from rich.console import Console
from torch import nn

from calipers.attacks import DeepFool
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.data.images import ImageDataset
from calipers.data.loading import load_dataset
from calipers.evaluate.progress import track
from calipers.evaluate.relative.corrupted import fgsm_error
from calipers.evaluate.relative.goals import Misclassified
from calipers.evaluate.relative.task import Aim
from calipers.evaluate.reproduce import ALL, BUDGETS, Densities, Gallery, Laboratory, Reproduced, Reproduction, Sweep
from calipers.evaluate.reproduce.choices import FirstCorrect, FirstOfEach
from calipers.evaluate.reproduce.experiment import QUICK, Figure
from calipers.evaluate.reproduce.margin import EFFORTS, TABLES
from calipers.evaluate.reproduce.margin_figures import AT, DROPOUT, L2, LINF, NONE, VAT
from calipers.evaluate.reproduce.margin_networks import LENET5, MLP, THESIS
from calipers.evaluate.reproduce.network import Trained
from calipers.evaluate.reproduce.relative_experiment import Corrupted, RelativeExperiment
from calipers.models.loading import load_model
from calipers.report.reproduction import tables
from calipers.report.reproduction_figure import save_figure
from calipers.store.store import Store
from calipers.train import Optimizer, Recipe
from calipers.train.objectives.margin import MarginSettings

NEAR = Aim("DeepFool", DeepFool(Distance.L2, 10**9, 50, longest=0.5), Misclassified())
RECIPE = Recipe(model="digits.small", data="digits", epochs=2, optimizer=Optimizer(learning_rate=5e-3))
PLAIN = RelativeExperiment(
    label="digits plain",
    network=Trained(RECIPE),
    data="digits",
    aims=(NEAR,),
    images=FirstCorrect(12),
    count=12,
    paper={"DeepFool": 0.25},
    paper_error=0.02,
    fgsm=Corrupted(0.2, 0.9),
    domain=None,
    spreads={"test error": 0.001, "rho DeepFool": 0.01},
    weight=0.1,
)
AGAIN = replace(PLAIN, network=Trained(RECIPE, repeat=1))
OTHER = replace(PLAIN, label="digits other", network=Trained(RECIPE.model_copy(update={"epochs": 1})), weight=1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests, so that each network is trained once."""
    return tmp_path_factory.mktemp("margin")


def reproduce(folder: Path, *planned: RelativeExperiment, figure: Figure | None = None) -> Reproduced:
    reproduction = Reproduction("digits", "digits", relatives=lambda budget: planned, figure=figure)
    with Store(folder) as store:
        laboratory = Laboratory(store, folder / "models", None, None, 0, track, "calipers reproduce digits")
        return laboratory.reproduce(reproduction, QUICK)


def test_several_seeds_become_a_mean_and_a_spread_beside_the_paper_s(folder: Path) -> None:
    found = reproduce(folder, PLAIN, AGAIN, OTHER)
    rows = {row.name: row for row in found.rows}
    one, two, _ = found.relatives
    assert one.task.model_digest != two.task.model_digest
    for name, values, paper, spread in (
        ("test error", (one.error, two.error), 0.02, 0.001),
        ("FGSM 0.2 error", (one.fgsm_error, two.fgsm_error), 0.9, None),
        ("rho DeepFool", (one.relatives[0].rho, two.relatives[0].rho), 0.25, 0.01),
    ):
        mean = rows[f"digits plain {name}"]
        assert (mean.measured, mean.n, mean.paper) == (pytest.approx(fmean(v for v in values if v)), 2, paper)
        around = rows[f"digits plain {name} spread"]
        assert (around.measured, around.paper) == (pytest.approx(stdev(v for v in values if v)), spread)
    # A network of one run keeps the rows of one run.
    assert rows["digits other DeepFool reached"].n == 12
    console = Console(width=160, record=True)
    for table in tables(found):
        console.print(table)
    words = console.export_text()
    for word in ("digits plain", "paper 2.00 ± 0.10 %", "paper 90.00 %", "FGSM 0.2 error", "rho DeepFool"):
        assert word in words


@pytest.mark.parametrize("figure", [Gallery(), Sweep("C"), Densities()])
def test_the_figures_are_drawn(folder: Path, figure: Gallery | Sweep | Densities) -> None:
    planned: tuple[RelativeExperiment, ...] = (PLAIN, AGAIN, OTHER)
    if isinstance(figure, Gallery):
        planned = tuple(replace(one, images=FirstOfEach((3, 1)), count=2) for one in planned)
    found = reproduce(folder, *planned, figure=figure)
    with Store(folder) as store:
        drawn = save_figure(store, found, folder / "figure.png")
    assert drawn is not None
    assert drawn.read_bytes().startswith(b"\x89PNG")


def test_errors_after_fgsm_of_a_linear_classifier_are_those_of_its_margins() -> None:
    """A step of epsilon in linf lowers the margin by epsilon times the l1 norm of the weights."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 2)).requires_grad_(False)
    images, labels = torch.rand(700, 1, 3, 3), torch.randint(2, (700,))
    data = ImageDataset("made", images, labels, ("0", "1"))
    weight: torch.Tensor = net[1].weight  # type: ignore[assignment]
    logits = net(images)
    margin = (1 - 2 * labels) * (logits[:, 0] - logits[:, 1])
    for epsilon in (0.0, 0.05, 0.2):
        expected = (margin < epsilon * (weight[0] - weight[1]).abs().sum()).double().mean()
        assert fgsm_error(net, data, epsilon) == pytest.approx(float(expected))


def test_images_are_the_first_correct_ones_or_the_first_of_each_class() -> None:
    model, data = load_model("digits.small").module, load_dataset("digits", "test")
    images, labels = data.batch(range(len(data)))
    right = (model(images).argmax(1) == labels).nonzero()[:, 0].tolist()
    assert list(FirstCorrect(7)(model, data)) == right[:7]
    assert list(FirstCorrect(10**6)(model, data)) == right
    for one, sample in zip((8, 2), FirstOfEach((8, 2))(model, data), strict=True):
        assert labels.tolist().index(one) == sample
    with pytest.raises(InputError, match="no image of class 11"):
        FirstOfEach((11,))(model, data)


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("name", [name for name in ALL if name.startswith("margin")])
def test_what_a_budget_plans_can_be_done(name: str, budget: str) -> None:
    planned = ALL[name].relatives(BUDGETS[budget])
    assert planned
    for one in planned:
        assert isinstance(one.network, Trained)
        assert all(Distance.L2 in aim.attack.distances for aim in one.aims)
        assert one.domain is None
        assert set(one.paper) <= {aim.name for aim in one.aims}
    networks = [(one.network.recipe.digest, one.network.repeat) for one in planned if isinstance(one.network, Trained)]
    assert len(set(networks)) == len(planned)


def test_the_thesis_s_figures_and_networks_are_those_of_section_3_5() -> None:
    assert list(TABLES[MLP]) == [NONE, DROPOUT, AT, VAT, LINF, L2]
    assert list(TABLES[LENET5]) == [NONE, DROPOUT, AT, LINF, L2]
    for lines in TABLES.values():
        for margin in (L2, LINF):
            assert lines[margin].rho.mean > lines[AT].rho.mean > lines[NONE].rho.mean
        assert min(lines, key=lambda defence: lines[defence].corrupted.mean) == AT
    line = TABLES[MLP][LINF]
    assert (line.error.mean, line.corrupted.mean) == pytest.approx((0.0084, 0.3243))
    assert (line.rho.mean, line.rho.spread) == pytest.approx((0.273, 0.008))
    for shape in (MLP, LENET5):
        l2, linf = THESIS.recipe(shape, L2), THESIS.recipe(shape, LINF)
        for recipe, chosen in ((l2, ("l2", 2, 0.1, None)), (linf, ("linf", 1, 0.01, None))):
            asked = MarginSettings.model_validate(recipe.settings)
            assert (asked.norm, asked.power, asked.weight, asked.rivals) == chosen
        assert (l2.samples, l2.epochs, l2.batch_size) == (50_000, 100, 100)
        assert (l2.optimizer.learning_rate, l2.optimizer.decay) == (1e-3, 0.95)
        assert THESIS.recipe(shape, DROPOUT).objective == "dropout"
        weights = [one.weight for one in ALL["margin-fig3.5"].relatives(QUICK)]
        assert (min(filter(None, weights)), max(filter(None, weights))) == (1e-6, 1.0)
    adversary = THESIS.recipe(MLP, AT).adversary
    assert adversary is not None
    assert (adversary.epsilon, adversary.domain) == (0.2, None)
    assert EFFORTS["full"].runs == 10
    assert not math.isnan(fmean(EFFORTS["quick"].weights))
