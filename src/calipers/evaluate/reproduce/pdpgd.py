"""Tables and figure of chapter 5 of Matyasko's thesis (2020): all attacks side by side on six networks."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from calipers.attacks import (
    DAA,
    DDN,
    JSMA,
    PDGD,
    PDPGD,
    PGD,
    SLIDE,
    Attack,
    DeepFool,
    MinimumNormAttack,
    Nearest,
    OnePixel,
    SparseFool,
)
from calipers.attacks.adapters import AutoAttackNearest, FoolboxMinimumNorm
from calipers.attacks.several import Several, SeveralNearest
from calipers.core.distances import Distance
from calipers.evaluate.reproduce.experiment import Budget, Experiment, Reproduction, Sheet
from calipers.evaluate.reproduce.network import Trained
from calipers.evaluate.reproduce.pdpgd_figures import (
    L2_AT,
    LINF_AT,
    NORMS,
    PLAIN,
    THRESHOLDS,
    TRAININGS,
    paper_means,
    paper_rates,
)
from calipers.evaluate.reproduce.pdpgd_networks import SMALL, THESIS, Training

# Propagations that no attack of a finite number of steps spends.
UNLIMITED = 10**9


@dataclass(frozen=True)
class Effort:
    """What a budget affords here.

    training: of the networks. restarts: of the attacks of others; own_restarts: of PDGD and PDPGD. step_sizes: of PGD
    and DAA, of the radius; the best counts. particles: of DAA. propagations: for the attacks that have a budget;
    evolution: for One-Pixel, which needs no gradients. carlini_wagner, elastic_net: what the budget makes of their
    settings.
    """

    training: Training
    samples: int
    restarts: tuple[int, ...]
    own_restarts: tuple[int, ...]
    particles: tuple[int, ...]
    step_sizes: tuple[float, ...]
    propagations: int
    evolution: int
    carlini_wagner: Mapping[str, Any]
    elastic_net: Mapping[str, Any]


EFFORTS = {
    "quick": Effort(
        training=SMALL,
        samples=100,
        restarts=(1,),
        own_restarts=(1, 10),
        particles=(1,),
        step_sizes=(0.1, 0.02),
        propagations=500,
        evolution=5_000,
        carlini_wagner={"binary_search_steps": 3, "stepsize": 0.1, "initial_const": 1.0},
        elastic_net={"binary_search_steps": 4, "initial_stepsize": 0.05, "initial_const": 0.1},
    ),
    "full": Effort(
        training=THESIS,
        samples=1_000,
        restarts=(1, 10, 100),
        own_restarts=(1, 10, 100),
        particles=(1, 50),
        step_sizes=(1.0, 0.5, 0.2, 0.1, 0.04, 0.02, 0.01),
        propagations=20_000,
        evolution=200_000,
        carlini_wagner={"binary_search_steps": 9, "stepsize": 0.01, "initial_const": 0.01},
        elastic_net={"binary_search_steps": 9, "initial_stepsize": 0.01, "initial_const": 0.01},
    ),
}

# Section 5.4; the rate falls every 20 steps there.
_BRENDEL_BETHGE = {"lr": 1.0}

# Section 5.4 selects the rate per network; these are those of the author's code.
_RATES = {
    ("cifar10", PLAIN, Distance.LINF): 0.1,
    ("cifar10", LINF_AT, Distance.LINF): 0.1,
    ("cifar10", L2_AT, Distance.LINF): 0.1,
    ("cifar10", PLAIN, Distance.L2): 0.1,
    ("mnist", LINF_AT, Distance.L0_PIXELS): 0.1,
}
_REACH = {"mnist": 0.5, "cifar10": 0.25}


@dataclass(frozen=True)
class _Case:
    """One network and one distance, and what to spend."""

    data: str
    training: str
    distance: Distance
    effort: Effort

    def ours(self, starts: int) -> MinimumNormAttack:
        """PDGD or PDPGD as the author ran them."""
        rate, reach = _RATES.get((self.data, self.training, self.distance), 1.0), _REACH[self.data]
        if self.distance is Distance.L2:
            return PDGD.author(rate, starts=starts, reach=reach)
        return PDPGD.author(self.distance, rate, starts=starts, reach=reach)

    def nearest(self) -> Iterator[tuple[str, MinimumNormAttack]]:
        """The columns of the tables that make the distance small, and our own attack."""
        spend, distance = self.effort.propagations, self.distance
        match distance:
            case Distance.LINF:
                yield "DF", DeepFool(distance, UNLIMITED)
                yield "B&B", FoolboxMinimumNorm("LinfinityBrendelBethgeAttack", spend, _BRENDEL_BETHGE)
            case Distance.L2:
                yield "DF", DeepFool(distance, UNLIMITED)
                yield "C&W", FoolboxMinimumNorm("L2CarliniWagnerAttack", spend, self.effort.carlini_wagner)
                yield "DDN", DDN(spend)
                yield "B&B", FoolboxMinimumNorm("L2BrendelBethgeAttack", spend, _BRENDEL_BETHGE)
            case Distance.L1:
                yield "SparseFool", SparseFool(UNLIMITED)
                yield "EAD", FoolboxMinimumNorm("EADAttack", spend, self.effort.elastic_net)
                yield "B&B", FoolboxMinimumNorm("L1BrendelBethgeAttack", spend, _BRENDEL_BETHGE)
            case _:
                yield "JSMA", JSMA(UNLIMITED)
                yield "Pixel", OnePixel(self.effort.evolution)
                yield "B&B", FoolboxMinimumNorm("L0BrendelBethgeAttack", spend, _BRENDEL_BETHGE)
        if distance.norm is not None:
            for starts in self.effort.restarts:
                yield f"FAB-{starts}", AutoAttackNearest("fab", UNLIMITED, starts)
        own = "PDGD" if distance is Distance.L2 else "PDPGD"
        for starts in self.effort.own_restarts:
            yield f"{own}-{starts}", self.ours(starts)
        yield "nearest", Nearest(spend)

    def fixed(self) -> Iterator[tuple[str, tuple[Attack, ...]]]:
        """The columns of the tables that search balls."""
        sizes = self.effort.step_sizes
        if self.distance is Distance.LINF:
            for particles in self.effort.particles:
                yield f"DAA-{particles}", tuple(DAA(steps=200, starts=particles, step_size=size) for size in sizes)
        if self.distance.norm is None:
            return
        for restarts in self.effort.restarts:
            if self.distance is Distance.L1:
                made: tuple[Attack, ...] = tuple(
                    SLIDE(steps=100, restarts=restarts, step_size=size, quantile=0.99) for size in sizes
                )
            else:
                made = tuple(PGD(steps=100, restarts=restarts, step_size=size) for size in sizes)
            yield f"PGD-{restarts}", made

    def experiment(self, attacks: Iterable[Attack | MinimumNormAttack], samples: int) -> Experiment:
        return Experiment(
            label=f"{self.data} {self.training}",
            network=Trained(self.effort.training.recipe(self.data, self.training)),
            data=self.data,
            epsilons=THRESHOLDS[self.data, self.training][self.distance],
            unit="pixel",
            domain=(0.0, 1.0),
            attacks=tuple(attacks),
            verifiers=(),
            samples=samples,
            distance=self.distance,
            paper=paper_rates(self.data, self.training, self.distance),
            paper_means=paper_means(self.data, self.training, self.distance),
        )

    def distances(self) -> Experiment:
        """All attacks that make the distance small."""
        return self.experiment(
            [SeveralNearest(name, (attack,)) for name, attack in self.nearest()], self.effort.samples
        )

    def balls(self) -> Experiment | None:
        """All attacks that search balls, if there are any for the distance."""
        attacks = tuple(Several(name, made) for name, made in self.fixed())
        return self.experiment(attacks, self.effort.samples) if attacks else None


def means(data: str) -> Callable[[Budget], tuple[Experiment, ...]]:
    """Tables 5.1 and 5.5: mean distances on the three networks of a data set."""

    def planned(budget: Budget) -> tuple[Experiment, ...]:
        cases = [_Case(data, training, d, EFFORTS[budget.name]) for d in NORMS for training in TRAININGS]
        return tuple(case.distances() for case in cases)

    return planned


def rates(data: str, training: str) -> Callable[[Budget], tuple[Experiment, ...]]:
    """The other tables: robust accuracy of one network."""

    def planned(budget: Budget) -> tuple[Experiment, ...]:
        cases = [_Case(data, training, d, EFFORTS[budget.name]) for d in NORMS]
        both = [(case.distances(), case.balls()) for case in cases]
        return tuple(one for pair in both for one in pair if one is not None)

    return planned


def examples(budget: Budget) -> tuple[Experiment, ...]:
    """Figure 5.1: our examples of ten images on the three MNIST networks."""
    cases = [_Case("mnist", training, d, EFFORTS[budget.name]) for training in TRAININGS for d in NORMS]
    return tuple(replace(case.experiment([case.ours(1)], 10), paper={}, paper_means={}) for case in cases)


WEIGHTS_NOTE = (
    "the networks are trained by our recipes, since the thesis's own are not available; quick ones are smaller than "
    "those of the thesis, so their figures compare attacks with each other, not with the paper's"
)
BUDGET_NOTE = (
    "attacks that run for as long as they are given have a budget of propagations (quick: 500, full: 20,000), for "
    "which quick C&W and EAD try fewer constants with larger steps; the rest take the thesis's steps; PGD and DAA take "
    "the best of several step sizes"
)
PAPER_NOTE = (
    "the paper's figures are those that the text of the thesis lets one assign for certain; tables 5.2, 5.4 and 5.6 "
    "are pictures there, and it does not say how many restarts table 5.1 and 5.5 use for FAB and PDPGD"
)
_NOTES = (WEIGHTS_NOTE, BUDGET_NOTE, PAPER_NOTE)
_NAMES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}


def _tables() -> Iterator[Reproduction]:
    for data, first in (("mnist", 1), ("cifar10", 5)):
        title = f"PDPGD, table 5.{first}: mean distance of adversarial examples, {_NAMES[data]}"
        yield Reproduction(f"pdpgd-table5.{first}", title, means(data), notes=_NOTES)
        for number, training in enumerate(TRAININGS, start=first + 1):
            title = f"PDPGD, table 5.{number}: robust accuracy, {_NAMES[data]}, {training}"
            yield Reproduction(f"pdpgd-table5.{number}", title, rates(data, training), notes=_NOTES)


REPRODUCTIONS = (
    *_tables(),
    Reproduction(
        "pdpgd-fig5.1", "PDPGD, figure 5.1: adversarial examples", examples, notes=(WEIGHTS_NOTE,), figure=Sheet()
    ),
)
