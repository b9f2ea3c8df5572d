"""Tables and figures of chapter 4 of Matyasko's thesis (2020): training against an adversary critic."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from calipers.attacks import DeepFool, MinimumNormAttack, Nearest
from calipers.attacks.adapters import FoolboxMinimumNorm
from calipers.attacks.high_confidence import UntilConfident
from calipers.core.distances import Distance
from calipers.evaluate.relative.goals import AsConfident, Misclassified, Towards
from calipers.evaluate.relative.task import Aim
from calipers.evaluate.reproduce import critic_figures as published
from calipers.evaluate.reproduce.choices import FirstImages, OneOfEach
from calipers.evaluate.reproduce.critic_figures import AT, CARLINI_WAGNER, CRITIC, DEEPFOOL, MARGIN, NONE, OWN, VAT
from calipers.evaluate.reproduce.critic_networks import LENET5, MLP, SMALL, THESIS, Training
from calipers.evaluate.reproduce.experiment import Budget, Reproduction
from calipers.evaluate.reproduce.network import Trained
from calipers.evaluate.reproduce.relative_experiment import RelativeExperiment
from calipers.evaluate.reproduce.relative_figures import Levels, Matrix

# Propagations that no attack of a finite number of steps spends.
UNLIMITED = 10**9
# Section 4.5: DeepFool and the own attack take 500 steps of at most 0.1.
STEPS, LONGEST = 500, 0.1
TABLES: Mapping[str, Mapping[str, published.Line]] = {MLP: published.MLP, LENET5: published.LENET5}
_NAMES = {MLP: "MLP", LENET5: "LeNet-5"}


@dataclass(frozen=True)
class Effort:
    """What a budget affords here.

    training: of the networks. images: of the test set. propagations: of C&W, and carlini_wagner: its settings.
    """

    training: Training
    images: int
    propagations: int
    carlini_wagner: Mapping[str, Any]

    def nearest(self) -> MinimumNormAttack:
        """C&W in l2."""
        return FoolboxMinimumNorm("L2CarliniWagnerAttack", self.propagations, self.carlini_wagner)


# The thesis takes C&W with nine searches of 1,000 steps.
EFFORTS = {
    "quick": Effort(SMALL, 100, 1_000, {"binary_search_steps": 3, "stepsize": 0.05, "initial_const": 1.0}),
    "full": Effort(THESIS, 10_000, 20_000, {"binary_search_steps": 9, "steps": 1000}),
}


def _experiment(shape: str, defence: str, effort: Effort) -> RelativeExperiment:
    line = TABLES[shape][defence]
    return RelativeExperiment(
        label=f"{_NAMES[shape]} {defence}",
        network=Trained(effort.training.recipe(shape, defence)),
        data="mnist",
        aims=(
            Aim(DEEPFOOL, DeepFool(Distance.L2, UNLIMITED, STEPS, longest=LONGEST), Misclassified()),
            Aim(CARLINI_WAGNER, effort.nearest(), Misclassified()),
            Aim(OWN, UntilConfident(steps=STEPS, longest=LONGEST), AsConfident()),
            Aim("nearest", Nearest(1_000), Misclassified()),
        ),
        images=FirstImages(effort.images),
        count=effort.images,
        paper=line.rho,
        paper_error=line.error,
    )


def table(shape: str) -> Callable[[Budget], tuple[RelativeExperiment, ...]]:
    """Table 4.1 of one network: every defence."""

    def planned(budget: Budget) -> tuple[RelativeExperiment, ...]:
        return tuple(_experiment(shape, defence, EFFORTS[budget.name]) for defence in (NONE, AT, VAT, MARGIN, CRITIC))

    return planned


def pushed(classes: tuple[int, ...]) -> Callable[[Budget], tuple[RelativeExperiment, ...]]:
    """Figures 4.1 and 4.2: an image of every class, pushed to 95 % confidence in all of them by C&W and by our own."""

    def planned(budget: Budget) -> tuple[RelativeExperiment, ...]:
        effort = EFFORTS[budget.name]
        attacks: dict[str, MinimumNormAttack] = {
            CARLINI_WAGNER: effort.nearest(),
            OWN: UntilConfident(confidence=0.95, steps=STEPS, longest=LONGEST),
        }
        return tuple(
            RelativeExperiment(
                label=f"MLP {CRITIC}, {name}",
                network=Trained(effort.training.recipe(MLP, CRITIC)),
                data="mnist",
                aims=tuple(Aim(f"to {target}", attack, Towards(target, 0.95)) for target in classes),
                images=OneOfEach(classes),
                count=len(classes),
            )
            for name, attack in attacks.items()
        )

    return planned


def levels(budget: Budget) -> tuple[RelativeExperiment, ...]:
    """Figure 4.4: images, what C&W makes of them at the boundary, and what our own makes of them with confidence."""
    effort = EFFORTS[budget.name]
    return (
        RelativeExperiment(
            label=f"MLP {CRITIC}",
            network=Trained(effort.training.recipe(MLP, CRITIC)),
            data="mnist",
            aims=(
                Aim("at the boundary, C&W", effort.nearest(), Misclassified()),
                Aim("as confident, ours", UntilConfident(steps=STEPS, longest=LONGEST), AsConfident()),
            ),
            images=FirstImages(12),
            count=12,
        ),
    )


WEIGHTS_NOTE = (
    "the networks are trained by our recipes; quick ones are a quarter as wide as the thesis's and see 10,000 images "
    "(LeNet-5 with the MLP's lambda and without cycle consistency), so their figures compare defences with each other, "
    "not with the paper's, which are means of 10 runs of 100 epochs"
)
BUDGET_NOTE = (
    "rho is the mean over the test images (quick: the first 100) for which the attack reached its aim, whatever their "
    "labels (equation 4.9); quick C&W takes 3 searches of 166 steps, full C&W 9 of 1,000; nearest is our own strongest "
    "attack"
)
_FIGURE_NOTES = (WEIGHTS_NOTE, BUDGET_NOTE)
REPRODUCTIONS = (
    *(
        Reproduction(
            f"critic-table4.1{letter}",
            f"Adversary critic, table 4.1{letter}: test error and relative perturbation, {_NAMES[shape]} on MNIST",
            notes=(WEIGHTS_NOTE, BUDGET_NOTE),
            relatives=table(shape),
            minutes=minutes,
        )
        for letter, shape, minutes in (("a", MLP, {}), ("b", LENET5, {"quick": 15}))
    ),
    Reproduction(
        "critic-fig4.1",
        "Adversary critic, figure 4.1: an image of each of two classes, taken for the other with 95 % confidence",
        notes=_FIGURE_NOTES,
        relatives=pushed((4, 9)),
        figure=Matrix(),
    ),
    Reproduction(
        "critic-fig4.2",
        "Adversary critic, figure 4.2: an image of every class, taken for every other with 95 % confidence",
        notes=_FIGURE_NOTES,
        relatives=pushed(tuple(range(10))),
        figure=Matrix(),
    ),
    Reproduction(
        "critic-fig4.4",
        "Adversary critic, figure 4.4: adversarial examples at the boundary and as confident as the images",
        notes=_FIGURE_NOTES,
        relatives=levels,
        figure=Levels(),
    ),
)
