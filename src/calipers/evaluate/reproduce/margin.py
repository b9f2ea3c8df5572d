"""Tables and figures of chapter 3 of Matyasko's thesis (2020): margin maximisation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from calipers.attacks import DeepFool, Nearest
from calipers.core.distances import Distance
from calipers.evaluate.relative.goals import Misclassified
from calipers.evaluate.relative.task import Aim
from calipers.evaluate.reproduce import margin_figures as published
from calipers.evaluate.reproduce.choices import FirstCorrect, FirstOfEach
from calipers.evaluate.reproduce.experiment import Budget, Reproduction
from calipers.evaluate.reproduce.margin_figures import AT, L2, LINF, NONE, VAT
from calipers.evaluate.reproduce.margin_networks import LENET5, MLP, SMALL, THESIS, Training
from calipers.evaluate.reproduce.network import Trained
from calipers.evaluate.reproduce.relative_experiment import ERROR, Corrupted, RelativeExperiment
from calipers.evaluate.reproduce.relative_figures import Densities, Gallery, Sweep

# Propagations that no attack of a finite number of steps spends.
UNLIMITED = 10**9
DEEPFOOL = "DeepFool"
# Section 3.5: DeepFool takes 50 steps of at most 0.5, and knows no domain.
NEAREST_BOUNDARY = Aim(DEEPFOOL, DeepFool(Distance.L2, UNLIMITED, 50, longest=0.5), Misclassified())
OWN = Aim("nearest", Nearest(500), Misclassified())
# Section 3.5.1: of the fast gradient sign method.
EPSILON = 0.2
TABLES: Mapping[str, Mapping[str, published.Line]] = {MLP: published.MLP, LENET5: published.LENET5}
SHORT_NAMES = {MLP: "MLP", LENET5: "LeNet-5"}


@dataclass(frozen=True)
class Effort:
    """What a budget affords here.

    training: of the networks. images: of the test set, correctly classified ones. runs, density_runs, sweep_runs:
    seeds, of the tables, of figure 3.6 and of the sweeps by shape. weights: C in the sweeps.
    """

    training: Training
    images: int
    runs: int
    density_runs: int
    sweep_runs: Mapping[str, int]
    weights: tuple[float, ...]


_DECADES = tuple(10.0**power for power in range(-6, 1))
EFFORTS = {
    "quick": Effort(SMALL, 200, 3, 1, {MLP: 3, LENET5: 2}, _DECADES),
    "full": Effort(THESIS, 10_000, 10, 10, {MLP: 3, LENET5: 3}, _DECADES),
}


def table(shape: str) -> Callable[[Budget], tuple[RelativeExperiment, ...]]:
    """Table 3.1 of one network: every defence, with several seeds."""

    def planned(budget: Budget) -> tuple[RelativeExperiment, ...]:
        effort = EFFORTS[budget.name]
        return _tabled(shape, effort, effort.runs)

    return planned


def _tabled(shape: str, effort: Effort, runs: int) -> tuple[RelativeExperiment, ...]:
    return tuple(
        _line(shape, defence, line, effort, repeat) for defence, line in TABLES[shape].items() for repeat in range(runs)
    )


def _line(shape: str, defence: str, line: published.Line, effort: Effort, repeat: int) -> RelativeExperiment:
    corrupted = Corrupted(EPSILON, line.corrupted.mean)
    return RelativeExperiment(
        label=f"{SHORT_NAMES[shape]} {defence}",
        network=Trained(effort.training.recipe(shape, defence), repeat),
        data="mnist",
        aims=(NEAREST_BOUNDARY, OWN),
        images=FirstCorrect(effort.images),
        count=effort.images,
        paper={DEEPFOOL: line.rho.mean},
        paper_error=line.error.mean,
        fgsm=corrupted,
        domain=None,
        spreads={
            ERROR: line.error.spread,
            corrupted.name: line.corrupted.spread,
            f"rho {DEEPFOOL}": line.rho.spread,
        },
    )


def sweep(shape: str) -> Callable[[Budget], tuple[RelativeExperiment, ...]]:
    """Figures 3.4 and 3.5: the l2 margin with weights from 1e-6 to 1."""

    def planned(budget: Budget) -> tuple[RelativeExperiment, ...]:
        effort = EFFORTS[budget.name]
        return tuple(
            RelativeExperiment(
                label=f"{SHORT_NAMES[shape]} C = {weight:g}",
                network=Trained(effort.training.weighted(shape, weight), repeat),
                data="mnist",
                aims=(NEAREST_BOUNDARY,),
                images=FirstCorrect(effort.images),
                count=effort.images,
                domain=None,
                weight=weight,
            )
            for weight in effort.weights
            for repeat in range(effort.sweep_runs[shape])
        )

    return planned


def gallery(shape: str, defences: tuple[str, ...]) -> Callable[[Budget], tuple[RelativeExperiment, ...]]:
    """Figures 3.1 and 3.7: an image of every class and what DeepFool makes of it, network by network."""

    def planned(budget: Budget) -> tuple[RelativeExperiment, ...]:
        classes = tuple(range(10))
        return tuple(
            RelativeExperiment(
                label=defence,
                network=Trained(EFFORTS[budget.name].training.recipe(shape, defence)),
                data="mnist",
                aims=(NEAREST_BOUNDARY,),
                images=FirstOfEach(classes),
                count=len(classes),
                domain=None,
            )
            for defence in defences
        )

    return planned


def densities(budget: Budget) -> tuple[RelativeExperiment, ...]:
    """Figure 3.6: the networks of both tables."""
    effort = EFFORTS[budget.name]
    return tuple(one for shape in TABLES for one in _tabled(shape, effort, effort.density_runs))


WEIGHTS_NOTE = (
    "the networks are trained by our recipes; quick ones are a quarter as wide as the thesis's and see 10,000 images "
    "a few times in place of 50,000 in 100 epochs, so their figures compare defences with each other, not with the "
    "paper's; C of the quick LeNet-5 in linf, 0.015, was chosen on test images of seed 0"
)
NORMS_NOTE = "the thesis names margins by the norm of the gradient: its l1 is the linf margin here"
BUDGET_NOTE = (
    "rho is the mean over correctly classified test images (quick: the first 200; equation 3.20), DeepFool without a "
    "domain; nearest is our own strongest attack, which the thesis does not have: where it finds much less, DeepFool "
    "overestimates; spreads are standard deviations over seeds (quick: 3; of figure 3.6 one)"
)
REPRODUCTIONS = (
    *(
        Reproduction(
            f"margin-table3.1{letter}",
            f"Margin maximisation, table 3.1{letter}: errors, clean and after FGSM, rho, {SHORT_NAMES[shape]} on MNIST",
            notes=(WEIGHTS_NOTE, NORMS_NOTE, BUDGET_NOTE),
            relatives=table(shape),
            minutes={"quick": minutes},
        )
        for letter, shape, minutes in (("a", MLP, 5), ("b", LENET5, 12))
    ),
    Reproduction(
        "margin-fig3.1",
        "Margin maximisation, figure 3.1: adversarial examples of LeNet-5, plain and trained for a margin",
        notes=(WEIGHTS_NOTE,),
        relatives=gallery(LENET5, (NONE, L2)),
        figure=Gallery(),
        minutes={"quick": 2},
    ),
    *(
        Reproduction(
            f"margin-fig3.{number}",
            f"Margin maximisation, figure 3.{number}: test error and rho against C, {SHORT_NAMES[shape]} on MNIST",
            notes=(WEIGHTS_NOTE, "the thesis says 3 runs in the text and 10 in the captions; bands are 3 spreads wide"),
            relatives=sweep(shape),
            figure=Sweep("C, weight of the squared l2 sensitivity"),
            minutes={"quick": minutes},
        )
        for number, shape, minutes in ((4, LENET5, 14), (5, MLP, 8))
    ),
    Reproduction(
        "margin-fig3.6",
        "Margin maximisation, figure 3.6: how relative perturbations are distributed, MLP and LeNet-5 on MNIST",
        notes=(WEIGHTS_NOTE, NORMS_NOTE, BUDGET_NOTE),
        relatives=densities,
        figure=Densities(),
        minutes={"quick": 6},
    ),
    Reproduction(
        "margin-fig3.7",
        "Margin maximisation, figure 3.7: adversarial examples of MLPs by defence",
        notes=(WEIGHTS_NOTE, NORMS_NOTE),
        relatives=gallery(MLP, (NONE, AT, VAT, L2, LINF)),
        figure=Gallery(),
        minutes={"quick": 2},
    ),
)
