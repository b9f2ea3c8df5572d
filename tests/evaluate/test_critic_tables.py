"""The tables and figures of the adversary critic, on scikit-learn's digits: what is planned, measured and drawn."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from calipers.attacks import DDN, DeepFool
from calipers.attacks.high_confidence import UntilConfident
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.data.loading import load_dataset
from calipers.evaluate.progress import track
from calipers.evaluate.relative.goals import AsConfident, Misclassified, Towards
from calipers.evaluate.relative.task import Aim
from calipers.evaluate.reproduce import ALL, BUDGETS, Laboratory, Levels, Matrix, Reproduced, Reproduction
from calipers.evaluate.reproduce.choices import FirstImages, OneOfEach
from calipers.evaluate.reproduce.critic import EFFORTS, TABLES
from calipers.evaluate.reproduce.critic_figures import CRITIC, MARGIN
from calipers.evaluate.reproduce.critic_networks import LENET5, MLP, SMALL, THESIS
from calipers.evaluate.reproduce.experiment import QUICK
from calipers.evaluate.reproduce.network import Trained
from calipers.evaluate.reproduce.relative_experiment import RelativeExperiment
from calipers.models.loading import load_model
from calipers.report.reproduction import tables
from calipers.report.reproduction_figure import save_figure
from calipers.store.store import Store
from calipers.train import Optimizer, Recipe

NEAR = Aim("DeepFool", DeepFool(Distance.L2, 10**9, 100, longest=0.1), Misclassified())
SURE = Aim("own", UntilConfident(steps=60), AsConfident())
NETWORK = Trained(Recipe(model="digits.small", data="digits", epochs=3, optimizer=Optimizer(learning_rate=5e-3)))


EXPERIMENT = RelativeExperiment("digits", NETWORK, "digits", (NEAR, SURE), FirstImages(6), 6, {"own": 0.5}, 0.01)


def reproduce(folder: Path, *planned: RelativeExperiment, figure: Levels | Matrix | None = None) -> Reproduced:
    reproduction = Reproduction("digits", "digits", relatives=lambda budget: planned, figure=figure)
    with Store(folder) as store:
        laboratory = Laboratory(store, folder / "models", None, None, 0, track, "calipers reproduce digits")
        return laboratory.reproduce(reproduction, QUICK)


def test_rows_and_table_have_the_paper_s_figures_beside_ours(tmp_path: Path) -> None:
    found = reproduce(tmp_path, EXPERIMENT, replace(EXPERIMENT, label="again", paper={}, paper_error=None))
    rows = {row.name: row for row in found.rows}
    (finding, _) = found.relatives
    assert rows["digits test error"].measured == finding.error
    assert (rows["digits test error"].paper, rows["digits test error"].n) == (0.01, 500)
    assert rows["digits rho own"].paper == 0.5
    assert rows["again rho own"].paper is None
    near, sure = (rows[f"digits rho {aim}"].measured for aim in ("DeepFool", "own"))
    assert near is not None
    assert sure is not None
    assert sure > near
    console = Console(width=160, record=True)
    for table in tables(found):
        console.print(table)
    words = console.export_text()
    for word in ("test error", "DeepFool", "own", "paper 0.5", "paper 1.00 %", "again"):
        assert word in words


def test_a_run_that_is_there_is_not_done_again(tmp_path: Path) -> None:
    one, two = reproduce(tmp_path, EXPERIMENT), reproduce(tmp_path, EXPERIMENT)
    assert one.relatives[0].run_id == two.relatives[0].run_id
    assert one.rows == two.rows


@pytest.mark.parametrize("figure", [Levels(), Matrix()])
def test_the_figures_are_drawn(tmp_path: Path, figure: Levels | Matrix) -> None:
    aims = tuple(Aim(f"to {k}", attack, Towards(k, 0.9)) for k, attack in ((1, DDN(60)), (4, UntilConfident(0.9, 60))))
    planned = (
        EXPERIMENT if isinstance(figure, Levels) else replace(EXPERIMENT, aims=aims, images=OneOfEach((1, 4)), count=2)
    )
    found = reproduce(tmp_path, planned, figure=figure)
    with Store(tmp_path) as store:
        drawn = save_figure(store, found, tmp_path / "figure.png")
    assert drawn is not None
    assert drawn.read_bytes().startswith(b"\x89PNG")


def test_one_image_of_each_class_is_the_surest_right_one() -> None:
    model, data = load_model("digits.small").module, load_dataset("digits", "test")
    chosen = OneOfEach((3, 7))(model, data)
    images, labels = data.batch(range(len(data)))
    probability = model(images).softmax(1)
    for one, sample in zip((3, 7), chosen, strict=True):
        right = (labels == one) & (probability.argmax(1) == one)
        assert right[sample]
        assert float(probability[sample, one]) == float(probability[right, one].max())
    always = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).requires_grad_(False)
    always[1].weight.zero_()  # type: ignore[operator]
    always[1].bias.copy_(torch.eye(10)[2])  # type: ignore[operator]
    with pytest.raises(InputError, match="classifies no image of class 3 correctly"):
        OneOfEach((3,))(always, data)


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("name", [name for name in ALL if name.startswith("critic")])
def test_what_a_budget_plans_can_be_done(name: str, budget: str) -> None:
    planned = ALL[name].relatives(BUDGETS[budget])
    assert planned
    for one in planned:
        assert isinstance(one.network, Trained)
        assert len({aim.name for aim in one.aims}) == len(one.aims)
        assert all(Distance.L2 in aim.attack.distances for aim in one.aims)
        assert one.count <= 10_000
        assert set(one.paper) <= {aim.name for aim in one.aims}


def test_the_thesis_s_figures_and_networks_are_those_of_section_4_5() -> None:
    for lines in TABLES.values():
        for attack in ("DeepFool", "C&W", "high-confidence"):
            column = [line.rho[attack] for line in lines.values()]
            assert column == sorted(column)
        assert all(line.rho["C&W"] < line.rho["DeepFool"] < line.rho["high-confidence"] for line in lines.values())
    recipe = THESIS.recipe(MLP, CRITIC)
    assert (recipe.epochs, recipe.batch_size, recipe.optimizer.learning_rate, recipe.optimizer.beta1) == (
        100,
        100,
        5e-4,
        0.5,
    )
    assert (recipe.settings["fooling"], THESIS.recipe(LENET5, CRITIC).settings["fooling"]) == (0.5, 0.1)
    assert SMALL.recipe(MLP, CRITIC).samples == 10_000
    assert EFFORTS["full"].images == 10_000
    margin = SMALL.recipe(MLP, MARGIN)
    assert (margin.objective, margin.settings["weight"], margin.settings["power"]) == ("margin", 0.1, 2)
    assert [one.label for one in ALL["critic-table4.1b"].relatives(QUICK)] == [
        f"LeNet-5 {defence}" for defence in ("no defence", "AT", "VAT", "margin", "critic")
    ]
