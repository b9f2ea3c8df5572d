"""The hybrids of one network with their data, as the studies of paper 000 share them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module

from calipers.attacks import FGSM
from calipers.attacks.attack import run_attack
from calipers.core.problem import Problem, Specification
from calipers.core.seeds import derive_seed
from calipers.core.threat import ThreatModel
from calipers.data.loading import load_dataset
from calipers.evaluate.reproduce.relative_experiment import Bench
from calipers.graph.from_torch import graph_of
from calipers.models.loading import LoadedModel
from calipers.repairs.hybrid import FeatureMap, kernel_head, linear_head

_BATCH = 500


@dataclass(frozen=True)
class Sizes:
    """fit, kernel: training images that the linear and the kernel machines learn. test: images of the test set."""

    fit: int
    kernel: int
    test: int


@dataclass(frozen=True, eq=False)
class HybridBench:
    """nn: the network. x, labels: of the test set. train_x, train_labels: of the training set. features: of the nn."""

    nn: Module
    features: FeatureMap
    x: Tensor
    labels: Tensor
    train_x: Tensor
    train_labels: Tensor
    sizes: Sizes
    seed: int

    @classmethod
    def of(cls, model: LoadedModel, data: str, sizes: Sizes, bench: Bench) -> "HybridBench":
        """Load the images, and split the network before its first fully connected layer."""
        test = load_dataset(data, "test", None, bench.data_dir, at_most=sizes.test)
        train = load_dataset(data, "train", None, bench.data_dir, at_most=max(sizes.fit, sizes.kernel))
        x, labels = test.batch(range(len(test)))
        train_x, train_labels = train.batch(range(len(train)))
        module = model.module.eval()
        features = FeatureMap.of(module, graph_of(module, x[:2]))
        return cls(module, features, x, labels, train_x, train_labels, sizes, bench.seed)

    @cached_property
    def train_features(self) -> np.ndarray:
        """Of the training images, in double precision."""
        return self.features(self.train_x).double().numpy()

    @cached_property
    def lh(self) -> Module:
        """The linear hybrid."""
        fit = slice(0, self.sizes.fit)
        head = linear_head(self.train_features[fit], self.train_labels[fit].numpy(), C=0.1, seed=self.seed)
        return self.features.under(head)

    @cached_property
    def kh(self) -> Module:
        """The hybrid with a kernel."""
        fit = slice(0, self.sizes.kernel)
        return self.features.under(kernel_head(self.train_features[fit], self.train_labels[fit].numpy(), C=10.0))

    def right(self, model: Module, x: Tensor) -> Tensor:
        """Which inputs a model classifies as their labels say."""
        with torch.no_grad():
            return torch.cat([model(part).argmax(1) for part in x.split(_BATCH)]) == self.labels

    def attacked(self, model: Module, epsilon: float) -> Tensor:
        """What FGSM makes of all test images at one radius (linf, pixels in [0, 1])."""
        threat = ThreatModel("linf", epsilon).for_model(None)
        found = []
        for places in torch.arange(len(self.x)).split(_BATCH):
            labels = self.labels[places]
            specification = Specification.classified_as(labels, int(self.labels.max()) + 1)
            problem = Problem("hybrid", tuple(places.tolist()), threat.around(self.x[places]), specification)
            seed = derive_seed(self.seed, "fgsm", int(places[0]))
            found.append(run_attack(FGSM(), model, problem, seed).adversarial)
        return torch.cat(found)

    def in_place(self, model: Module, adversarial: Tensor) -> tuple[Tensor, Tensor]:
        """The test set with the adversaries that were found in place of their originals, and which these are."""
        found = self.right(model, self.x) & ~self.right(model, adversarial)
        return torch.where(found[:, None, None, None], adversarial, self.x), found
