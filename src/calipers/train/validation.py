"""Validation: which epoch's weights are saved, and when a training ends early."""

from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from calipers.core.devices import home_of
from calipers.core.modes import frozen
from calipers.core.seeds import derive_seed
from calipers.data.images import ImageDataset
from calipers.train.adversary import Adversary
from calipers.train.objective import Metrics
from calipers.train.objectives.pgd import AdversarialPGD

_BATCH = 500  # samples


@dataclass(frozen=True, eq=False)
class Best:
    """The weights of the epoch, counted from 0, that validated best; of equals the first."""

    weights: dict[str, Tensor]
    score: float
    epoch: int


class Validation(BaseModel):
    """samples: the last so many of the training data validate every epoch and are not trained on.

    The best epoch's weights are saved, by accuracy under PGD, of equals the first. adversary: of that PGD, as in
    [adversary]; default that of the training, and without one accuracy as it is decides. patience: so many epochs in a
    row without gain end the training (default: it goes on to its end).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    samples: int = Field(default=0, ge=0)
    patience: int | None = Field(default=None, ge=1)
    adversary: Adversary | None = None

    @model_validator(mode="after")
    def _needs_samples(self) -> "Validation":
        if not self.samples and (self.patience is not None or self.adversary is not None):
            raise ValueError("validation.samples = 0: nothing validates; accepted with the rest of [validation]: >= 1")
        return self

    def measured(self, model: nn.Module, dataset: ImageDataset, adversary: Adversary | None, seed: int) -> Metrics:
        """Accuracy in eval mode and, with an adversary, under PGD from the same random starts at every call."""
        against = self.adversary or adversary
        pgd = None if against is None else AdversarialPGD(against.full(model))
        clean = robust = 0
        with torch.random.fork_rng(devices=[]), frozen(model):
            torch.manual_seed(derive_seed(seed, "validation"))
            for first in range(0, len(dataset), _BATCH):
                x, y = (part.to(home_of(model)) for part in dataset.batch(slice(first, first + _BATCH)))
                clean += int((model(x).argmax(1) == y).sum())
                if pgd is not None:
                    robust += int((model(pgd.perturb(model, x, y)).argmax(1) == y).sum())
        found = {"validation_accuracy": clean / len(dataset)}
        return found if pgd is None else {**found, "validation_robust": robust / len(dataset)}

    def better(self, best: Best | None, found: Metrics, model: nn.Module, epoch: int) -> Best:
        """The best so far. found: what `measured` said of the model after this epoch."""
        score = found.get("validation_robust", found["validation_accuracy"])
        if best is not None and score <= best.score:
            return best
        return Best({name: value.detach().clone() for name, value in model.state_dict().items()}, score, epoch)

    def ends(self, best: Best | None, epoch: int) -> bool:
        """Whether patience is at its end after this epoch."""
        return best is not None and self.patience is not None and epoch - best.epoch >= self.patience
