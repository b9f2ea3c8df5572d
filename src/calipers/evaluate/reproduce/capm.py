"""Tables and figures of the CAPM paper: our verifiers on its networks, in both units of epsilon."""

import itertools
from collections.abc import Sequence

from calipers.attacks import PGD, Attack, MonteCarlo
from calipers.core.space import RadiusUnit
from calipers.core.tables import Row
from calipers.evaluate.reproduce.capm_figures import FIGURE3, TABLE1, TABLE2, TABLE3, Published2
from calipers.evaluate.reproduce.experiment import Budget, Curves, Experiment, Reproduction
from calipers.evaluate.reproduce.network import Published, Trained
from calipers.models.zoo import ZOO
from calipers.train import Adversary, Optimizer, Recipe
from calipers.verify import VERIFIERS, Limits, Verifier

CHEAP = ("deepz", "crown", "capm", "combined")
ALL = (*CHEAP, "optimised", "complete")
# A comparison uses one threat model: the paper's, which is not clipped, and the one that a user of pixels means.
UNITS = (("normalised", None), ("pixel", (0.0, 1.0)))
# The paper does not say what its networks were trained against.
ADVERSARY = 0.04
LARGE = ("capm.convbig", "capm.convbig_cifar10")

UNIT_NOTE = (
    "the paper mixes units: on the published weights its figures of CAPM are ours in normalised units without "
    "clipping, its figures of DeepZ are near ours in pixel units with clipping, and those of DeepPoly lie between the "
    "two; rows of one unit compare with each other, the paper's columns do not"
)
WEIGHTS_NOTE = (
    "rows 'ours' measure networks trained by our recipes; the paper does not say against which epsilon its own were "
    f"trained, ours are against {ADVERSARY:g} in pixel units"
)


def recipe(network: str, training: str, budget: Budget) -> Recipe:
    """How we train a network: normal, fast (one step from a random start, Wong et al. 2020) or pgd (Madry et al.)."""
    data = "cifar10" if network.endswith("cifar10") else "mnist"
    adversary = {
        "normal": None,
        "fast": Adversary(epsilon=ADVERSARY, unit=RadiusUnit.PIXEL, steps=1, step_size=1.25),
        "pgd": Adversary(epsilon=ADVERSARY, unit=RadiusUnit.PIXEL, steps=7, step_size=None),
    }[training]
    return Recipe(
        model=network,
        data=data,
        objective="standard" if adversary is None else "pgd",
        adversary=adversary,
        epochs=budget.epochs,
        samples=budget.images,
        optimizer=Optimizer(learning_rate=1e-3 if network in LARGE else 2e-3, decay=0.8),
    )


def methods(network: str, budget: Budget) -> tuple[Verifier, ...]:
    """The verifiers that the budget affords on a network."""
    names = CHEAP if network in LARGE and not budget.complete_large else ALL
    limits = Limits(timeout=budget.timeout)
    return tuple(VERIFIERS[name](limits) for name in names)


def experiments(
    label: str,
    architecture: str,
    networks: Sequence[tuple[str, Published | Trained]],
    epsilons: Sequence[float],
    budget: Budget,
    paper: dict[tuple[str, float], float],
    paper_seconds: dict[tuple[str, float], float] | None = None,
) -> list[Experiment]:
    """Every network under every unit."""
    return [
        Experiment(
            label=f"{label} {origin}",
            network=network,
            data="cifar10" if architecture.endswith("cifar10") else "mnist",
            epsilons=tuple(epsilons),
            unit=unit,
            domain=domain,
            attacks=(PGD(),),
            verifiers=methods(architecture, budget),
            samples=budget.large if architecture in LARGE else budget.samples,
            paper=paper,
            paper_seconds=paper_seconds or {},
        )
        for origin, network in networks
        for unit, domain in UNITS
    ]


def table1() -> tuple[Row, ...]:
    """Parameters and hidden layers of the networks as we build them."""
    rows = []
    for name, (layers, parameters) in TABLE1.items():
        module = ZOO[name].build()
        weights = [parameter for parameter in module.parameters() if parameter.dim() > 1]
        count = sum(parameter.numel() for parameter in module.parameters())
        short = name.removeprefix("capm.")
        rows.append(Row(f"{short} parameters", float(count), 1, "parameters", float(parameters)))
        rows.append(Row(f"{short} hidden layers", float(len(weights) - 1), 1, "layers", float(layers)))
    return tuple(rows)


def table2(budget: Budget) -> tuple[Experiment, ...]:
    """MNIST: published weights and ours, radii of one network together."""
    found: list[Experiment] = []
    for (net, training), group in itertools.groupby(TABLE2, lambda line: (line.net, line.training)):
        lines = list(group)
        architecture = f"capm.{net.lower()}"
        networks: list[tuple[str, Published | Trained]] = [("ours", Trained(recipe(architecture, training, budget)))]
        if architecture not in LARGE:
            file = f"{net}_{'fgsm' if training == 'fast' else training}_mnist.safetensors"
            networks.insert(0, ("published", Published(architecture, file)))
        epsilons = [line.epsilon for line in lines]
        found += experiments(f"{net} {training}", architecture, networks, epsilons, budget, *_beside(lines))
    return tuple(found)


def _beside(lines: list[Published2]) -> tuple[dict[tuple[str, float], float], dict[tuple[str, float], float]]:
    columns = {"verify:capm": "capm", "verify:deepz": "deepz", "verify:crown": "deeppoly", "PRIMA": "prima"}
    places = [((row, line.epsilon), line, column) for line in lines for row, column in columns.items()]
    rates = {key: getattr(line, column) for key, line, column in places}
    seconds = {key: getattr(line, f"{column}_seconds") for key, line, column in places}
    return rates, {key: value for key, value in seconds.items() if value is not None}


def table3(budget: Budget) -> tuple[Experiment, ...]:
    """MNIST, pool stride equal to the kernel: ours only, since no weights are published."""
    found: list[Experiment] = []
    for (net, training), group in itertools.groupby(TABLE3, lambda line: line[:2]):
        lines = list(group)
        architecture = f"capm.{net.lower()}"
        paper = {("verify:capm", line[2]): line[3] for line in lines}
        paper |= {("alpha-beta-CROWN without branch and bound", line[2]): line[4] for line in lines}
        ours = [("ours", Trained(recipe(architecture, training, budget)))]
        found += experiments(f"{net} {training}", architecture, ours, [line[2] for line in lines], budget, paper)
    return tuple(found)


def cifar10(budget: Budget) -> tuple[Experiment, ...]:
    """Three networks over the radii of figures 3 and 4."""
    found: list[Experiment] = []
    for net in ("convSmall", "convMed", "convBig"):
        architecture = f"capm.{net.lower()}_cifar10"
        paper = {(method, 0.0024): value for method, value in FIGURE3.items()} if net == "convSmall" else {}
        # Section 1: 6.5 days and 3 days for 100 images.
        seconds = {("verify:crown", 0.0006): 2592.0} if net == "convBig" else {}
        ours = [("ours", Trained(recipe(architecture, "normal", budget)))]
        radii = (0.0006, 0.0012, 0.0018, 0.0024)
        found += experiments(f"{net} CIFAR-10 normal", architecture, ours, radii, budget, paper, seconds)
    return tuple(found)


def montecarlo(budget: Budget) -> tuple[Experiment, ...]:
    """Sampling beside an attack and a proof, where the attack breaks much."""
    attacks: tuple[Attack, ...] = (MonteCarlo(100), MonteCarlo(budget.draws), PGD())
    networks: list[tuple[str, Published | Trained]] = [
        ("published", Published("capm.convsmall", "convSmall_normal_mnist.safetensors")),
        ("ours", Trained(recipe("capm.convsmall", "normal", budget))),
    ]
    return tuple(
        Experiment(
            label=f"convSmall normal {origin}",
            network=network,
            data="mnist",
            epsilons=(0.05, 0.1, 0.2),
            unit=unit,
            domain=domain,
            attacks=attacks,
            verifiers=(VERIFIERS["combined"](Limits()),),
            samples=budget.samples,
        )
        for origin, network in networks
        for unit, domain in UNITS
    )


_NOTES = (UNIT_NOTE, WEIGHTS_NOTE)
_NAMES = {"verify:crown": "crown (DeepPoly)", "attack:pgd": "PGD attack"}
_SHARES, _SECONDS = (
    Curves("rate", "share of correct images, %", _NAMES),
    Curves("seconds", "seconds per image", _NAMES),
)
REPRODUCTIONS = (
    Reproduction("capm-table1", "CAPM, table 1: network parameters", facts=table1),
    Reproduction("capm-table2", "CAPM, table 2: verified robustness and time on MNIST", table2, notes=_NOTES),
    Reproduction("capm-table3", "CAPM, table 3: comparison with alpha-beta-CROWN on MNIST", table3, notes=_NOTES),
    Reproduction("capm-fig3", "CAPM, figure 3: verified robustness on CIFAR-10", cifar10, notes=_NOTES, figure=_SHARES),
    Reproduction("capm-fig4", "CAPM, figure 4: time per image on CIFAR-10", cifar10, notes=_NOTES, figure=_SECONDS),
    Reproduction(
        "capm-montecarlo",
        "CAPM, appendix A.3: what a Monte-Carlo simulation does not find",
        montecarlo,
        notes=("the paper's figures of this experiment are not printed, so no row has one", *_NOTES[1:]),
        figure=_SHARES,
    ),
)
