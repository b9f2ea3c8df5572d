"""The networks of chapter 4 of Matyasko's thesis (2020), and the small ones that stand in for them: our recipes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from calipers.core.space import RadiusUnit
from calipers.evaluate.reproduce.critic_figures import AT, CRITIC, NONE, VAT
from calipers.train import Adversary, Optimizer, Recipe
from calipers.train.schedule import Schedule

MLP, LENET5 = "mlp", "lenet5"
# Section 4.5: of the critic's term, selected by the author per network.
FOOLING = {MLP: 0.5, LENET5: 0.1}


@dataclass(frozen=True)
class Training:
    """How the networks are trained.

    networks: by shape. images: of the training set, the first so many; None: all. epochs: by defence. rate: of the
    networks but the critic's opponent's, times `decay` per epoch. critic: of that opponent, whose other settings are
    `critic_settings`; it falls by halves as in the thesis.
    """

    networks: Mapping[str, str]
    images: int | None
    epochs: Mapping[str, int]
    rate: float
    decay: float
    critic: float
    critic_settings: Mapping[str, Any] = field(default_factory=dict)

    def recipe(self, shape: str, defence: str) -> Recipe:
        """The recipe of one network."""
        objective, settings, adversary = {
            NONE: ("standard", {}, None),
            AT: ("fgsm", {}, Adversary(epsilon=0.1, unit=RadiusUnit.PIXEL)),
            VAT: ("vat", {"epsilon": 2.0}, None),
            CRITIC: ("critic", {"fooling": FOOLING[shape], **self.critic_settings}, None),
        }[defence]
        opponent = defence == CRITIC
        return Recipe(
            model=self.networks[shape],
            data="mnist",
            objective=objective,
            settings=settings,
            adversary=adversary,
            epochs=self.epochs[defence],
            batch_size=100,
            samples=self.images,
            optimizer=Optimizer(learning_rate=self.critic, beta1=0.5)
            if opponent
            else Optimizer(learning_rate=self.rate, decay=self.decay),
            schedule=Schedule(shape="step", milestones=(0.4, 0.8), factor=0.5) if opponent else Schedule(),
        )


SMALL = Training(
    networks={MLP: "small.mlp", LENET5: "small.lenet5"},
    images=10_000,
    epochs={NONE: 10, AT: 10, VAT: 10, CRITIC: 15},
    rate=1e-3,
    decay=0.8,
    critic=1.5e-3,
    critic_settings={"hidden": [256, 256], "critic_rate": 2e-3},
)
THESIS = Training(
    networks={MLP: "thesis.critic_mlp", LENET5: "thesis.critic_lenet5"},
    images=None,
    epochs=dict.fromkeys((NONE, AT, VAT, CRITIC), 100),
    rate=1e-3,
    decay=0.95,
    critic=5e-4,
)
