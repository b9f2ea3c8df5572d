"""Recipes: everything that decides a training run, in one TOML file."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import nn

from calipers.core.digests import digest_json
from calipers.core.errors import InputError
from calipers.core.norms import Norm
from calipers.core.space import RadiusUnit
from calipers.core.threat import ThreatModel
from calipers.models.normalise import input_std
from calipers.train.augmentation import Augmentation
from calipers.train.objective import Objective, Unfitted
from calipers.train.objectives import OBJECTIVES
from calipers.train.objectives.registry import Inner
from calipers.train.schedule import Schedule


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Optimizer(_Strict):
    """Adam or SGD with momentum 0.9; the learning rate is multiplied by `decay` after every epoch.

    beta1: decay of Adam's mean of gradients.
    """

    name: Literal["adam", "sgd"] = "adam"
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    decay: float = Field(default=1.0, gt=0, le=1)
    beta1: float = Field(default=0.9, ge=0, lt=1)


class Adversary(_Strict):
    """The inner maximisation of adversarial training (Madry et al. 2018): random start, `steps` steps of PGD.

    step_size: of the radius; default 2.5 / steps. hold, warmup: epochs with radius 0, and then of growth up to epsilon.
    """

    norm: Norm = Norm.LINF
    epsilon: float = Field(gt=0)
    unit: RadiusUnit | None = None
    domain: tuple[float, float] | None = (0.0, 1.0)
    steps: int = Field(default=7, ge=1)
    step_size: float | None = Field(default=None, gt=0)
    hold: float = Field(default=0.0, ge=0)
    warmup: float = Field(default=0.0, ge=0)

    @property
    def threat(self) -> ThreatModel:
        """The threat model to train against, its unit still to be settled for the model."""
        return ThreatModel(self.norm, self.epsilon, self.domain, self.unit)


class Recipe(_Strict):
    """How to train a model. objective: by name; `settings` are its own, and adversarial ones need `adversary`.

    data: a data set by name; samples: the first so many of its training split (default all). labelled: only the first
    so many of these samples have labels, for objectives that learn from the others too (default all).
    checkpoint_every: batches between checkpoints.
    """

    model: str
    data: str
    objective: str = "standard"
    settings: dict[str, Any] = Field(default_factory=dict)
    adversary: Adversary | None = None
    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=128, ge=1)
    samples: int | None = Field(default=None, ge=1)
    labelled: int | None = Field(default=None, ge=1)
    seed: int = 0
    checkpoint_every: int = Field(default=100, ge=1)
    optimizer: Optimizer = Field(default_factory=Optimizer.model_construct)
    schedule: Schedule = Field(default_factory=Schedule.model_construct)
    augmentation: Augmentation = Field(default_factory=Augmentation.model_construct)

    @model_validator(mode="after")
    def _objective_and_adversary(self) -> "Recipe":
        try:
            kind = OBJECTIVES[self.objective]
        except InputError as error:
            raise ValueError(str(error)) from error
        if kind.adversarial != (self.adversary is not None):
            needs = "needs a table [adversary]" if kind.adversarial else "must have no table [adversary]"
            raise ValueError(f"objective {self.objective!r} {needs}")
        if self.labelled is not None and not kind.unlabelled:
            able = ", ".join(name for name in OBJECTIVES if OBJECTIVES[name].unlabelled)
            raise ValueError(f"labelled: objective {self.objective!r} needs all labels; accepted with it: {able}")
        kind.settings.model_validate(self.settings)
        return self

    def objective_for(self, model: nn.Module) -> Objective | Unfitted:
        """The objective, with the unit of its threat settled for the model."""
        kind, inner = OBJECTIVES[self.objective], None
        if self.adversary is not None:
            asked = self.adversary
            length = asked.step_size or 2.5 / asked.steps
            threat = asked.threat.for_model(input_std(model))
            inner = Inner(threat, asked.steps, length, asked.hold, asked.warmup)
        return kind.make(kind.settings.model_validate(self.settings), inner)

    @property
    def digest(self) -> str:
        return digest_json(self.model_dump(mode="json"))


def built_in_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files("calipers.train") / "recipes"
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def load_recipe(reference: str) -> Recipe:
    """A recipe by file, or by name of a built-in one. Raises InputError that names every field that is wrong."""
    if reference in built_in_recipes():
        text = (resources.files("calipers.train") / "recipes" / f"{reference}.toml").read_text()
    else:
        path = Path(reference)
        if not path.is_file():
            raise InputError(
                f"recipe {reference!r}: neither a file nor a built-in recipe; built in: {', '.join(built_in_recipes())}"
            )
        text = path.read_text()
    try:
        return Recipe.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"recipe {reference}: not valid TOML ({error})") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'recipe'}: {e['msg']}" for e in error.errors())
        raise InputError(f"recipe {reference}: {faults}") from error
