"""Recipes: everything that decides a training run, in one TOML file."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import nn

from calipers.core.digests import digest_json
from calipers.core.errors import InputError
from calipers.train.adversary import Adversary
from calipers.train.augmentation import Augmentation
from calipers.train.averaging import Averaging
from calipers.train.objective import Objective, Unfitted
from calipers.train.objectives import OBJECTIVES
from calipers.train.precision import SAFE, Precision, why_not
from calipers.train.schedule import Schedule
from calipers.train.validation import Validation
from calipers.train.whitening import WhiteningSettings


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


class Recipe(_Strict):
    """How to train a model. objective: by name; `settings` are its own, and adversarial ones need `adversary`.

    description: one line for lists, which changes nothing and so is in no digest and on no card.
    data: a data set by name; samples: the first so many of its training split (default all). labelled: only the first
    so many of these samples have labels, for objectives that learn from the others too (default all).
    checkpoint_every: batches between checkpoints. precision: of the classifier, bf16 only where that is safe.
    whitening: fixed first layers, fitted to the training images (default none).
    """

    model: str
    data: str
    description: str = Field(default="", exclude=True)
    objective: str = "standard"
    settings: dict[str, Any] = Field(default_factory=dict, validate_default=True)
    adversary: Adversary | None = None
    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=128, ge=1)
    samples: int | None = Field(default=None, ge=1)
    labelled: int | None = Field(default=None, ge=1)
    seed: int = 0
    checkpoint_every: int = Field(default=100, ge=1)
    precision: Precision = "single"
    optimizer: Optimizer = Field(default_factory=Optimizer.model_construct)
    schedule: Schedule = Field(default_factory=Schedule.model_construct)
    augmentation: Augmentation = Field(default_factory=Augmentation.model_construct)
    averaging: Averaging = Field(default_factory=Averaging.model_construct)
    validation: Validation = Field(default_factory=Validation.model_construct)
    whitening: WhiteningSettings | None = None

    @field_validator("objective")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            OBJECTIVES[name]
        except InputError as error:
            raise ValueError(str(error)) from error
        return name

    @field_validator("settings")
    @classmethod
    def _whole(cls, settings: dict[str, Any], info: Any) -> dict[str, Any]:
        """With every default written out, so that whether a recipe does that makes no difference."""
        if "objective" not in info.data:  # which is an error already
            return settings
        return OBJECTIVES[info.data["objective"]].settings.model_validate(settings).model_dump(mode="json")

    @model_validator(mode="after")
    def _objective_and_adversary(self) -> "Recipe":
        kind = OBJECTIVES[self.objective]
        if kind.adversarial != (self.adversary is not None):
            needs = "needs a table [adversary]" if kind.adversarial else "must have no table [adversary]"
            raise ValueError(f"objective {self.objective!r} {needs}")
        if self.labelled is not None and not kind.unlabelled:
            able = ", ".join(name for name in OBJECTIVES if OBJECTIVES[name].unlabelled)
            raise ValueError(f"labelled: objective {self.objective!r} needs all labels; accepted with it: {able}")
        unsafe = why_not(self.objective, bool(self.settings.get("penalties"))) if self.precision == "bf16" else None
        if unsafe is not None:
            raise ValueError(f"{unsafe}; accepted: single, or without penalties an objective of {', '.join(SAFE)}")
        return self

    @model_validator(mode="after")
    def _whitened(self) -> "Recipe":
        if self.whitening is not None:
            others = next((key for key in ("teacher", "sources") if self.settings.get(key)), None)
            if others is not None:
                raise ValueError(
                    f"settings.{others} = {self.settings[others]!r}: takes raw images, but would get whitened ones; "
                    "accepted: recipes without [whitening], or objectives that need no other model"
                )
            for name, one in (("adversary", self.adversary), ("validation.adversary", self.validation.adversary)):
                if one is not None and one.domain is not None:
                    raise ValueError(
                        f"{name}.domain = {list(one.domain)}: bounds pixels, the adversary comes behind [whitening], "
                        f"where values have no bounds; accepted: --set {name}.domain=none"
                    )
        return self

    def objective_for(self, model: nn.Module) -> Objective | Unfitted:
        """The objective, with the unit of its threat settled for the model."""
        kind = OBJECTIVES[self.objective]
        inner = None if self.adversary is None else self.adversary.inner(model)
        return kind.make(kind.settings.model_validate(self.settings), inner)

    @property
    def digest(self) -> str:
        """Of all that decides the training, with every default written out: a recipe that says them is the same."""
        content = self.model_dump(mode="json")
        if self.whitening is None:  # so that recipes from before it keep their digests
            del content["whitening"]
        for table, adversary in ((content, self.adversary), (content["validation"], self.validation.adversary)):
            if adversary is not None:
                table["adversary"]["step_size"] = adversary.length
        return digest_json(content)
