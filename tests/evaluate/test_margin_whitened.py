"""Table 3.2 and the choice of C: what is planned, measured behind the whitening, and on images held back."""

from dataclasses import replace
from pathlib import Path

import pytest

from calipers.attacks import DeepFool
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.data.loading import load_dataset
from calipers.evaluate.progress import track
from calipers.evaluate.relative.corrupted import fgsm_error
from calipers.evaluate.relative.goals import Misclassified
from calipers.evaluate.relative.task import Aim
from calipers.evaluate.reproduce import ALL, BUDGETS, Laboratory, Reproduced, Reproduction
from calipers.evaluate.reproduce.choices import FirstCorrect
from calipers.evaluate.reproduce.experiment import QUICK
from calipers.evaluate.reproduce.margin_choice import HELD_BACK
from calipers.evaluate.reproduce.margin_figures import NIN
from calipers.evaluate.reproduce.margin_whitened import EFFORTS
from calipers.evaluate.reproduce.network import Trained
from calipers.evaluate.reproduce.relative_experiment import Corrupted, RelativeExperiment
from calipers.models import Whitened, load_model
from calipers.report.relative import relative_view
from calipers.store.store import Store
from calipers.train import Optimizer, Recipe
from calipers.train.accuracy import accuracy
from calipers.train.objectives.margin import MarginSettings
from calipers.train.whitening import WhiteningSettings, behind

PLAIN = Recipe(
    model="digits.small",
    data="digits",
    epochs=2,
    samples=1000,
    batch_size=100,
    optimizer=Optimizer(learning_rate=5e-3),
)
WHITENED = RelativeExperiment(
    label="digits",
    network=Trained(PLAIN.model_copy(update={"whitening": WhiteningSettings(contrast=8.0)})),
    data="digits",
    aims=(Aim("DeepFool", DeepFool(Distance.L2, 10**9, 50, longest=0.5), Misclassified()),),
    images=FirstCorrect(12),
    count=12,
    fgsm=Corrupted(0.2, None, "whitened"),
    domain=None,
    tested=100,
    whitened=True,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests, so that each network is trained once."""
    return tmp_path_factory.mktemp("whitened")


def reproduce(folder: Path, *planned: RelativeExperiment) -> Reproduced:
    with Store(folder) as store:
        laboratory = Laboratory(store, folder / "models", None, None, 0, track, "calipers reproduce digits")
        return laboratory.reproduce(Reproduction("digits", "digits", relatives=lambda budget: planned), QUICK)


def test_errors_and_perturbations_are_those_behind_the_whitening(folder: Path) -> None:
    found = reproduce(folder, WHITENED)
    (one,) = found.relatives
    model = load_model(one.task.model).module
    assert isinstance(model, Whitened)
    images = behind(model.whitening, load_dataset("digits", "test", 100))
    assert one.error == pytest.approx(1 - accuracy(model, load_dataset("digits", "test", 100)))
    assert one.fgsm_error == pytest.approx(fgsm_error(model.net, images, 0.2))
    sizes = images.batch(one.task.samples)[0].flatten(1).norm(dim=1).tolist()
    assert [record.size for record in one.relatives[0].records] == pytest.approx(sizes)
    rows = {row.name: row for row in found.rows}
    fgsm = rows["digits FGSM 0.2 whitened error"]
    assert (fgsm.measured, fgsm.n) == (one.fgsm_error, 100)
    assert (fgsm.epsilon, fgsm.norm, fgsm.epsilon_unit) == (0.2, "linf", "whitened")
    assert rows["digits rho DeepFool"].unit == "of the whitened image's norm"
    with Store(folder) as store:
        view = relative_view(store, next(run for run in store.runs() if run.run_id == one.run_id))
    assert "whitened images" in view.title
    assert view.rows["rows"][0]["unit"] == "of the whitened image's norm"


def test_of_several_seeds_the_unit_is_told_too(folder: Path) -> None:
    assert isinstance(WHITENED.network, Trained)
    again = replace(WHITENED, network=replace(WHITENED.network, repeat=1))
    rows = {row.name: row for row in reproduce(folder, WHITENED, again).rows}
    assert rows["digits FGSM 0.2 whitened error"].epsilon_unit == "whitened"
    assert rows["digits FGSM 0.2 whitened error spread"].n == 2
    assert rows["digits rho DeepFool spread"].unit == "of the whitened image's norm"


def test_a_network_without_whitening_cannot_be_measured_behind_it(folder: Path) -> None:
    with pytest.raises(InputError, match=r"has no whitening to measure behind; accepted: a recipe with \[whitening\]"):
        reproduce(folder, replace(WHITENED, network=Trained(PLAIN)))


def test_choices_look_at_the_last_training_images_which_no_recipe_has_seen(folder: Path) -> None:
    held_back = replace(WHITENED, network=Trained(PLAIN), fgsm=None, tested=None, whitened=False, validation=297)
    found = reproduce(folder, held_back)
    (one,) = found.relatives
    images = load_dataset("digits", "train").subset(slice(1000, None))
    assert (one.tested, one.task.data_digest) == (297, images.digest)
    assert one.error == pytest.approx(1 - accuracy(load_model(one.task.model).module, images))
    assert found.rows[0].name == "digits validation error"
    with pytest.raises(InputError, match=r"trained on 1000 of 1297 images.*last 298 are to validate; accepted: .* 999"):
        reproduce(folder, replace(held_back, validation=298))


def test_the_lines_are_those_of_table_3_2() -> None:
    assert [(line.weight, line.augmented) for line in NIN] == [
        (0.0, False),
        (0.01, False),
        (0.001, False),
        (0.0, True),
        (0.005, True),
    ]
    assert (NIN[4].error, NIN[4].corrupted, NIN[4].rho) == (0.1002, 0.528, 0.0777)
    for augmented in (False, True):
        plain, *margins = (line for line in NIN if line.augmented == augmented)
        assert all(line.rho > plain.rho and line.corrupted < plain.corrupted for line in margins)
    assert len({line.label(line.weight) for line in NIN}) == len(NIN)


def test_full_networks_are_trained_as_section_3_5_2_says() -> None:
    for line in NIN:
        recipe = EFFORTS["full"].recipe(EFFORTS["full"].weight(line), line.augmented)
        assert (recipe.model, recipe.epochs, recipe.batch_size, recipe.samples) == ("thesis.nin", 200, 128, None)
        assert (recipe.optimizer.name, recipe.validation.samples) == ("sgd", 5000)
        passed = [round(share * recipe.epochs) for share in recipe.schedule.milestones]
        assert (recipe.schedule.shape, passed, recipe.schedule.factor) == ("step", [80, 120, 160], 0.2)
        assert recipe.whitening is not None
        assert recipe.augmentation.flip == line.augmented
        assert bool(recipe.augmentation.shift) == line.augmented
        if line.weight:
            asked = MarginSettings.model_validate(recipe.settings)
            assert (asked.norm, asked.power, asked.weight, asked.loss) == ("l2", 2, line.weight, "cross-entropy")
            assert (asked.rivals, recipe.optimizer.weight_decay) == (None, 0)


@pytest.mark.parametrize("budget", BUDGETS)
def test_every_line_is_measured_whitened_with_several_seeds(budget: str) -> None:
    planned = ALL["margin-table3.2"].relatives(BUDGETS[budget])
    assert len(planned) == len(NIN) * EFFORTS[budget].runs > len(NIN)
    for one in planned:
        assert one.label.startswith({"quick": "small NIN ", "full": "NIN "}[budget])
        assert one.whitened
        assert one.fgsm is not None
        assert (one.fgsm.epsilon, one.fgsm.unit) == (0.05, "whitened")
        assert isinstance(one.network, Trained)
        assert one.network.recipe.whitening is not None


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize(("name", "images"), [("margin-choice3.1b", 60_000), ("margin-choice3.2", 50_000)])
def test_c_is_chosen_on_images_that_are_in_no_recipe(name: str, images: int, budget: str) -> None:
    for one in ALL[name].relatives(BUDGETS[budget]):
        assert isinstance(one.network, Trained)
        recipe = one.network.recipe
        assert one.validation == HELD_BACK[recipe.data]
        seen = (recipe.samples or images) - recipe.validation.samples
        assert seen <= images - one.validation
