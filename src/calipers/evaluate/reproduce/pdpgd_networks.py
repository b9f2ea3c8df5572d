"""The six networks of chapter 5 of Matyasko's thesis (2020), and the small ones that stand in for them: our recipes."""

from collections.abc import Mapping
from dataclasses import dataclass

from calipers.core.norms import Norm
from calipers.core.space import RadiusUnit
from calipers.evaluate.reproduce.pdpgd_figures import L2_AT, LINF_AT, PLAIN
from calipers.train import Adversary, Optimizer, Recipe

# What the networks are trained against (Madry et al. 2018 for linf; Croce & Hein 2020, whose networks the thesis takes
# on CIFAR-10, for l2).
ADVERSARIES = {
    ("mnist", LINF_AT): (Norm.LINF, 0.3),
    ("mnist", L2_AT): (Norm.L2, 2.0),
    ("cifar10", LINF_AT): (Norm.LINF, 8 / 255),
    ("cifar10", L2_AT): (Norm.L2, 0.5),
}


@dataclass(frozen=True)
class Training:
    """How the networks are trained.

    networks, plain_epochs, adversarial_epochs: by data set. steps, step_size: of the adversary in training, the size in
    radii; one step from a random start is the fast adversarial training of Wong et al. (2020). decay: of the learning
    rate, per epoch.
    """

    networks: Mapping[str, str]
    plain_epochs: Mapping[str, int]
    adversarial_epochs: Mapping[str, int]
    steps: int
    step_size: float
    decay: float

    def recipe(self, data: str, training: str) -> Recipe:
        """The recipe of one of the six."""
        adversary = None
        if training != PLAIN:
            norm, epsilon = ADVERSARIES[data, training]
            adversary = Adversary(
                norm=norm, epsilon=epsilon, unit=RadiusUnit.PIXEL, steps=self.steps, step_size=self.step_size
            )
        return Recipe(
            model=self.networks[data],
            data=data,
            objective="standard" if adversary is None else "pgd",
            adversary=adversary,
            epochs=(self.plain_epochs if adversary is None else self.adversarial_epochs)[data],
            optimizer=Optimizer(learning_rate=1e-3, decay=self.decay),
        )


# Small networks do not start to learn against ten steps of 0.3; against one step they do.
SMALL = Training(
    networks={"mnist": "capm.convsmall", "cifar10": "capm.convsmall_cifar10"},
    plain_epochs={"mnist": 3, "cifar10": 8},
    adversarial_epochs={"mnist": 10, "cifar10": 10},
    steps=1,
    step_size=1.25,
    decay=0.8,
)
THESIS = Training(
    networks={"mnist": "thesis.madry", "cifar10": "thesis.cifar10"},
    plain_epochs={"mnist": 20, "cifar10": 50},
    adversarial_epochs={"mnist": 60, "cifar10": 50},
    steps=10,
    step_size=0.25,
    decay=0.95,
)
