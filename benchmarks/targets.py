"""The models that attacks are compared on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from calipers.core.distances import Distance
from calipers.core.problem import MinimumNormProblem, Specification
from calipers.core.space import RadiusUnit
from calipers.data.loading import load_dataset
from calipers.evaluate.progress import track
from calipers.evaluate.reproduce.capm import recipe
from calipers.evaluate.reproduce.experiment import QUICK
from calipers.evaluate.reproduce.laboratory import Laboratory, trained
from calipers.models.loading import load_model
from calipers.store.store import Store
from calipers.train import Adversary, Optimizer, Recipe

MASK = 1000.0
# Learns to answer the single step; near its images the gradients point elsewhere.
FAST = Recipe(
    model="capm.convsmall",
    data="mnist",
    objective="pgd",
    adversary=Adversary(epsilon=0.3, unit=RadiusUnit.PIXEL, steps=1, step_size=1.25),
    epochs=10,
    optimizer=Optimizer(learning_rate=1e-3, decay=0.8),
)


class Scaled(nn.Module):
    """Logits times a factor: the same classes, but the softmax saturates and its gradients vanish in float32."""

    def __init__(self, main: nn.Module, factor: float) -> None:
        super().__init__()
        self.main, self.factor = main, factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.main(x)


@dataclass(frozen=True)
class Target:
    """A model with the images it classifies correctly, of `asked` images.

    rates: first steps with which the thesis attacks a plain network on this data.
    """

    name: str
    module: nn.Module
    x: Tensor
    y: Tensor
    asked: int
    rates: dict[Distance, float]

    def problem(self, distance: Distance) -> MinimumNormProblem:
        """Pixels in [0, 1]."""
        ids, labels = tuple(range(len(self.x))), Specification.classified_as(self.y, 10)
        return MinimumNormProblem(self.name, ids, self.x, distance, torch.ones(()), (0.0, 1.0), labels)


@dataclass(frozen=True)
class Sources:
    """weights: folder of the networks that the authors of CAPM publish. out: of those that are trained here."""

    weights: Path
    data_dir: Path
    out: Path

    def published(self, training: str, size: str = "convMed") -> nn.Module:
        return load_model(f"capm.{size.lower()}", self.weights / f"{size}_{training}_mnist.safetensors").module

    def cifar10(self) -> nn.Module:
        return self._trained(recipe("capm.convmed_cifar10", "normal", QUICK))

    def fast(self) -> nn.Module:
        return self._trained(FAST)

    def _trained(self, asked: Recipe) -> nn.Module:
        with Store(self.out) as store:
            laboratory = Laboratory(store, self.out, self.weights, self.data_dir, 0, track, "benchmarks")
            return trained(asked, laboratory).module


TARGETS: dict[str, Callable[[Sources], nn.Module]] = {
    "convMed_normal": lambda sources: sources.published("normal"),
    "convMed_pgd": lambda sources: sources.published("pgd"),
    "convMed_cifar10": lambda sources: sources.cifar10(),
    "convSmall_masked": lambda sources: Scaled(sources.published("normal", "convSmall"), MASK).eval(),
    "convSmall_fast": lambda sources: sources.fast(),
}


def load(name: str, sources: Sources, samples: int) -> Target:
    """The target of a name, with the correct ones of the first `samples` test images."""
    module = TARGETS[name](sources)
    data = "cifar10" if name.endswith("cifar10") else "mnist"
    x, y = load_dataset(data, limit=samples, data_dir=sources.data_dir).batch(range(samples))
    with torch.no_grad():
        keep = module(x).argmax(1) == y
    dense = 0.1 if data == "cifar10" else 1.0
    rates = {Distance.LINF: dense, Distance.L2: dense, Distance.L1: 1.0, Distance.L0_PIXELS: 1.0}
    # In-place projections of peers are lost on other layouts.
    return Target(name, module, x[keep].contiguous(), y[keep], samples, rates)
