"""The networks of chapter 4 of Matyasko's thesis (2020), and the small ones that stand in for them: our recipes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from calipers.core.space import RadiusUnit
from calipers.evaluate.reproduce.critic_figures import AT, CRITIC, MARGIN, NONE, VAT
from calipers.train import Adversary, Optimizer, Recipe
from calipers.train.schedule import Schedule

MLP, LENET5 = "mlp", "lenet5"
# Section 4.5: of the critic's term, selected by the author per network.
FOOLING = {MLP: 0.5, LENET5: 0.1}


@dataclass(frozen=True)
class Critic:
    """Training against a critic. rate: of the classifier; it falls by halves as in the thesis. settings: others."""

    epochs: int
    rate: float
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Training:
    """How the networks are trained.

    networks: by shape. images: of the training set, the first so many; None: all. epochs, rate, decay: without a
    critic; the rate falls so every epoch. critics, margins: by shape; the latter are settings beside the thesis's.
    """

    networks: Mapping[str, str]
    images: int | None
    epochs: int
    rate: float
    decay: float
    critics: Mapping[str, Critic]
    margins: Mapping[str, Mapping[str, Any]]

    def recipe(self, shape: str, defence: str) -> Recipe:
        """The recipe of one network."""
        critic = self.critics[shape]
        objective, settings, adversary = {
            NONE: ("standard", {}, None),
            AT: ("fgsm", {}, Adversary(epsilon=0.1, unit=RadiusUnit.PIXEL)),
            VAT: ("vat", {"epsilon": 2.0}, None),
            MARGIN: ("margin", {"norm": "l2", "power": 2, "weight": 0.1, **self.margins[shape]}, None),
            CRITIC: ("critic", {"fooling": FOOLING[shape], **critic.settings}, None),
        }[defence]
        made = Recipe(
            model=self.networks[shape],
            data="mnist",
            objective=objective,
            settings=settings,
            adversary=adversary,
            epochs=self.epochs,
            batch_size=100,
            samples=self.images,
            optimizer=Optimizer(learning_rate=self.rate, decay=self.decay),
        )
        if defence != CRITIC:
            return made
        halved = Schedule(shape="step", milestones=(0.4, 0.8), factor=0.5)
        optimizer = Optimizer(learning_rate=critic.rate, beta1=0.5)
        return made.model_copy(update={"epochs": critic.epochs, "optimizer": optimizer, "schedule": halved})


_QUICK = {"hidden": [256, 256], "critic_rate": 2e-3}
SMALL = Training(
    networks={MLP: "small.mlp", LENET5: "small.lenet5"},
    images=10_000,
    epochs=10,
    rate=1e-3,
    decay=0.8,
    # Steps of the convolutional network take longer, so there are fewer; with the thesis's weight 0.1 of the critic's
    # term they do not bring it above AT.
    critics={
        MLP: Critic(15, 1.5e-3, _QUICK),
        LENET5: Critic(8, 1.5e-3, {**_QUICK, "cycle": 0.0, "fooling": 0.5}),
    },
    margins={MLP: {}, LENET5: {"rivals": 1}},
)
THESIS = Training(
    networks={MLP: "thesis.critic_mlp", LENET5: "thesis.critic_lenet5"},
    images=None,
    epochs=100,
    rate=1e-3,
    decay=0.95,
    critics=dict.fromkeys((MLP, LENET5), Critic(100, 5e-4)),
    margins={MLP: {}, LENET5: {}},
)
