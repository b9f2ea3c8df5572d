"""How the weight C of margins is chosen (Matyasko 2020, section 3.5.1): on training images that are held back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from calipers.evaluate.reproduce.choices import FirstCorrect
from calipers.evaluate.reproduce.experiment import Budget, Reproduction
from calipers.evaluate.reproduce.margin import EFFORTS, NEAREST_BOUNDARY, SHORT_NAMES
from calipers.evaluate.reproduce.margin_figures import LINF, NONE
from calipers.evaluate.reproduce.margin_networks import LENET5
from calipers.evaluate.reproduce.network import Trained
from calipers.evaluate.reproduce.relative_experiment import RelativeExperiment
from calipers.train import Recipe

# Of the training set: the last so many, as in the thesis.
HELD_BACK = 10_000
# What a margin may cost in clean error, as a share of the images.
COST = 0.003


@dataclass(frozen=True)
class Grid:
    """Values of C that are tried. runs: seeds, by budget."""

    weights: tuple[float, ...]
    runs: Mapping[str, int]


GRIDS = {(LENET5, LINF): Grid((0.005, 0.01, 0.015, 0.02, 0.03), {"quick": 2, "full": 3})}


def choice(shape: str, defence: str) -> Callable[[Budget], tuple[RelativeExperiment, ...]]:
    """A network without a margin and with one of every weight, measured on images held back."""

    def planned(budget: Budget) -> tuple[RelativeExperiment, ...]:
        effort, grid = EFFORTS[budget.name], GRIDS[shape, defence]
        tried: list[tuple[str, Recipe]] = [("no defence", effort.training.recipe(shape, NONE))]
        tried += [(f"C = {w:g}", effort.training.weighted(shape, w, defence)) for w in grid.weights]
        return tuple(
            RelativeExperiment(
                label=f"{SHORT_NAMES[shape]} {label}",
                network=Trained(recipe, repeat),
                data="mnist",
                aims=(NEAREST_BOUNDARY,),
                images=FirstCorrect(effort.images),
                count=effort.images,
                domain=None,
                validation=HELD_BACK,
            )
            for label, recipe in tried
            for repeat in range(grid.runs[budget.name])
        )

    return planned


REPRODUCTIONS = (
    Reproduction(
        "margin-choice",
        "Margin maximisation, section 3.5.1: C of LeNet-5's linf margin, chosen on training images held back",
        notes=(
            f"the last {HELD_BACK:,} training images validate, no test image is looked at; the rule is the largest C "
            f"whose mean error is above that without a margin by {100 * COST:g} points at most",
        ),
        relatives=choice(LENET5, LINF),
    ),
)
