"""How the weight C of margins is chosen (Matyasko 2020, section 3.5): on training images that are held back."""

from collections.abc import Callable, Iterable

from calipers.evaluate.reproduce import margin, margin_whitened
from calipers.evaluate.reproduce.choices import FirstCorrect
from calipers.evaluate.reproduce.experiment import Budget, Reproduction
from calipers.evaluate.reproduce.margin_figures import LINF, NONE
from calipers.evaluate.reproduce.margin_networks import LENET5
from calipers.evaluate.reproduce.network import Trained
from calipers.evaluate.reproduce.relative_experiment import RelativeExperiment
from calipers.train import Recipe

# Of the training sets: the last so many, as in the thesis.
HELD_BACK = {"mnist": 10_000, "cifar10": 5_000}
WEIGHTS = {"mnist": (0.005, 0.01, 0.015, 0.02, 0.03), "cifar10": (0.001, 0.01, 0.1)}
# What a margin may cost in clean error, as a share of the images.
COST = 0.003
RUNS = {"quick": 1, "full": 3}


def lenet5(budget: Budget) -> tuple[RelativeExperiment, ...]:
    """LeNet-5 of table 3.1b without a margin, and with one in linf of every weight."""
    effort = margin.EFFORTS[budget.name]
    tried = [("LeNet-5 no defence", effort.training.recipe(LENET5, NONE))]
    tried += [(f"LeNet-5 C = {w:g}", effort.training.weighted(LENET5, w, LINF)) for w in WEIGHTS["mnist"]]
    return tuple(_validated(tried, effort.images, budget))


def nin(budget: Budget) -> tuple[RelativeExperiment, ...]:
    """Network in Network of table 3.2, likewise in l2."""
    effort = margin_whitened.EFFORTS[budget.name]
    name = margin_whitened.SHORT_NAMES[effort.base.model]
    tried = [(f"{name} no defence", effort.recipe(0.0, augmented=False))]
    tried += [(f"{name} C = {weight:g}", effort.recipe(weight, augmented=False)) for weight in WEIGHTS["cifar10"]]
    return tuple(_validated(tried, effort.images, budget))


def _validated(tried: Iterable[tuple[str, Recipe]], images: int, budget: Budget) -> Iterable[RelativeExperiment]:
    for label, recipe in tried:
        for repeat in range(RUNS[budget.name]):
            yield RelativeExperiment(
                label=label,
                network=Trained(recipe, repeat),
                data=recipe.data,
                aims=(margin.NEAREST_BOUNDARY,),
                images=FirstCorrect(images),
                count=images,
                domain=None,
                whitened=recipe.whitening is not None,
                validation=HELD_BACK[recipe.data],
            )


def _choice(
    name: str, what: str, rule: str, planned: Callable[[Budget], tuple[RelativeExperiment, ...]]
) -> Reproduction:
    return Reproduction(
        name,
        f"Margin maximisation, section 3.5: C of {what}, chosen on training images that are held back",
        notes=(f"the last training images stand in for the test images, none of which is looked at; taken is {rule}",),
        relatives=planned,
    )


REPRODUCTIONS = (
    _choice(
        "margin-choice3.1b",
        "the linf margin, LeNet-5 on MNIST",
        f"the largest C that adds at most {100 * COST:g} points to the error without a defence",
        lenet5,
    ),
    _choice(
        "margin-choice3.2",
        "the l2 margin, NIN on whitened CIFAR-10",
        "the least power of ten, as a factor of the thesis's 0.001 and 0.01, with which rho grows from no defence over "
        "the smaller C to the larger",
        nin,
    ),
)
