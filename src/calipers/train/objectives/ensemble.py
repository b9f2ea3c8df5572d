"""Ensemble adversarial training (Tramèr et al. 2018): adversarial samples of fixed models beside the model's own."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from calipers.core.modes import frozen
from calipers.models.loading import load_model
from calipers.train.fit import check_fit
from calipers.train.objective import DataShape, Objective, Progress
from calipers.train.objectives.inner import ascended
from calipers.train.objectives.registry import OBJECTIVES, Inner, ObjectiveKind
from calipers.train.objectives.settings import LossSettings


class EnsembleSettings(LossSettings):
    """sources: the fixed models, as cards of saved models or names of the zoo. clean: weight of the clean loss."""

    sources: tuple[str, ...] = Field(min_length=1)
    clean: float = Field(default=0.5, ge=0, le=1)


@dataclass(frozen=True)
class EnsembleTraining:
    """The objective once the sources are known to fit the data."""

    inner: Inner
    settings: EnsembleSettings

    def fitted(self, shape: DataShape) -> Objective:
        """See `Unfitted`."""
        sources = tuple(load_model(source).module.to(shape.device) for source in self.settings.sources)
        for name, source in zip(self.settings.sources, sources, strict=True):
            check_fit(f"ensemble: source {name}", source, shape)
        return self.settings.minimised(EnsembleAdversarial(self.inner, sources, self.settings.clean))


@dataclass(frozen=True, eq=False)
class EnsembleAdversarial:
    """clean * J(x, y) + (1 - clean) * J(x', y): x' one full step from x against a source, or against the model itself.

    Which of them, all equally likely, is drawn for every batch from the global generator.
    """

    inner: Inner
    sources: tuple[nn.Module, ...]
    clean: float

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        """See `Loss`."""
        attacked = (*self.sources, model)[int(torch.randint(len(self.sources) + 1, ()))]
        sets = self.inner.at(progress).threat.around(x)
        with frozen(attacked):
            moved = ascended(sets, x, lambda here: F.cross_entropy(attacked(here), y, reduction="sum"), 1, 1.0)
        return self.clean * F.cross_entropy(model(x), y) + (1 - self.clean) * F.cross_entropy(model(moved), y)


OBJECTIVES.add("ensemble")(
    ObjectiveKind(EnsembleSettings, True, lambda settings, inner: EnsembleTraining(inner, settings))
)
