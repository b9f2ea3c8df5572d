"""Section 3.1 and figure 2 of paper 000: how accurate hybrids are, how many variables they have, and FGSM on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from calipers.core.tables import Row
from calipers.evaluate.reproduce.hybrid_bench import HybridBench, Sizes
from calipers.evaluate.reproduce.network import Trained
from calipers.evaluate.reproduce.relative_experiment import Bench
from calipers.evaluate.reproduce.study import Laid, Measured, Point
from calipers.models.loading import LoadedModel
from calipers.repairs.selection import p_values, selected

# Adversaries that select features; the paper does not say how many.
_PAIRS = 200
# Images in the gallery of figure 2.
_SHOWN = 2


@dataclass(frozen=True)
class HybridAccuracy:
    """NN, LH and KH on clean test images, and the free variables of a repair. paper: figures by row."""

    label: str
    network: Trained
    data: str
    sizes: Sizes
    epsilon: float
    paper: Mapping[str, float]

    @property
    def parts(self) -> Sequence[str]:
        return ("accuracy", "variables")

    @property
    def settings(self) -> dict[str, Any]:
        return {"study": "accuracy", "data": self.data, "epsilon": self.epsilon, **vars(self.sizes)}

    def laid(self, model: LoadedModel, bench: Bench) -> Laid:
        """See `Study`."""
        return _Accuracies(self, HybridBench.of(model, self.data, self.sizes, bench))


@dataclass(frozen=True, eq=False)
class _Accuracies:
    study: HybridAccuracy
    hybrids: HybridBench

    def part(self, number: int) -> Measured:
        return Measured(self._variables() if number else self._accuracies())

    def _accuracies(self) -> list[Row]:
        models = {"NN": self.hybrids.nn, "LH": self.hybrids.lh, "KH": self.hybrids.kh}
        paper = self.study.paper
        return [
            accuracy_row(f"{self.study.label} {name}", self.hybrids, model, self.hybrids.x, paper.get(name))
            for name, model in models.items()
        ]

    def _variables(self) -> list[Row]:
        """Of the network's own head, of the linear one, and of those of its features that an attack shifts."""
        bench = self.hybrids
        own = sum(p.numel() for p in bench.nn.parameters()) - sum(
            p.numel() for name, p in bench.nn.named_parameters() if self._before(name)
        )
        adversarial = bench.attacked(bench.lh, self.study.epsilon)
        found = bench.in_place(bench.lh, adversarial)[1].nonzero()[:_PAIRS, 0]
        clean, moved = (bench.features(x[found]).double().numpy() for x in (bench.x, adversarial))
        p = p_values(clean, moved)
        classes = int(bench.labels.max()) + 1
        counts = {
            "variables of the fully connected layers": own,
            "variables of LH": classes * bench.features.size,
            "variables after selection": classes * int(selected(p).sum()),
            "variables after Benjamini-Hochberg": classes * int(selected(p, false_discovery=True).sum()),
        }
        n = len(found)
        return [
            Row(f"{self.study.label} {name}", float(value), n, "variables", self.study.paper.get(name))
            for name, value in counts.items()
        ]

    def _before(self, parameter: str) -> bool:
        """Whether a parameter belongs to the features."""
        names = [name for name, module in self.hybrids.nn.named_modules() if isinstance(module, nn.Linear)]
        return not any(parameter.startswith(f"{name}.") for name in names)


@dataclass(frozen=True)
class HybridUnderAttack:
    """Figure 2: accuracy of NN and LH against the radius of FGSM, over all test images."""

    label: str
    network: Trained
    data: str
    sizes: Sizes
    epsilons: tuple[float, ...]

    @property
    def parts(self) -> Sequence[str]:
        return tuple(f"FGSM at {epsilon:g}" for epsilon in self.epsilons)

    @property
    def settings(self) -> dict[str, Any]:
        own = {"study": "attack", "data": self.data, "epsilons": list(self.epsilons), "shown": _SHOWN}
        return {**own, **vars(self.sizes)}

    def laid(self, model: LoadedModel, bench: Bench) -> Laid:
        """See `Study`."""
        return _UnderAttack(self, HybridBench.of(model, self.data, self.sizes, bench))


@dataclass(frozen=True, eq=False)
class _UnderAttack:
    study: HybridUnderAttack
    hybrids: HybridBench

    def part(self, number: int) -> Measured:
        epsilon, rows, points = self.study.epsilons[number], [], []
        shown = self.shown
        arrays = {"label": self.hybrids.labels[shown].numpy(), "original": self.hybrids.x[shown].numpy()}
        for name, model in (("NN", self.hybrids.nn), ("LH", self.hybrids.lh)):
            adversarial = self.hybrids.attacked(model, epsilon)
            label = f"{self.study.label} {name} under FGSM"
            row = accuracy_row(label, self.hybrids, model, adversarial, None, epsilon)
            rows.append(row)
            points.append(point_of(row, self.study.label, name, number + 1, epsilon))
            if number == 0:
                clean = accuracy_row(f"{self.study.label} {name} clean", self.hybrids, model, self.hybrids.x)
                rows.append(clean)
                points.append(point_of(clean, self.study.label, name, 0, 0.0))
            arrays[f"picture {name}"] = adversarial[shown].numpy()
            with torch.no_grad():
                arrays[f"class {name}"] = model(adversarial[shown]).argmax(1).numpy()
        return Measured(rows, points, arrays)

    @cached_property
    def shown(self) -> Tensor:
        """The first images that both networks classify correctly."""
        both = self.hybrids.right(self.hybrids.nn, self.hybrids.x) & self.hybrids.right(self.hybrids.lh, self.hybrids.x)
        return both.nonzero()[:_SHOWN, 0]


def accuracy_row(
    name: str, bench: HybridBench, model: nn.Module, x: Any, paper: float | None = None, epsilon: float | None = None
) -> Row:
    """The accuracy of a model on inputs with the bench's labels, with its interval."""
    return rate_row(name, bench.right(model, x).numpy(), paper, epsilon)


def rate_row(name: str, hits: np.ndarray, paper: float | None = None, epsilon: float | None = None) -> Row:
    """A share with its 95 % interval (Wilson); nothing measured where there is nothing to count."""
    norm, unit = (None, None) if epsilon is None else ("linf", "pixel")
    row = Row(name, None, len(hits), "fraction", paper, epsilon=epsilon, norm=norm, epsilon_unit=unit)
    if not len(hits):
        return row
    count = int(hits.sum())
    interval = binomtest(count, len(hits)).proportion_ci(0.95, method="wilson")
    return replace(row, measured=count / len(hits), low=float(interval.low), high=float(interval.high))


def point_of(row: Row, panel: str, line: str, number: int, x: float) -> Point:
    """A rate as a point of a figure. The row has something measured."""
    assert row.measured is not None
    return Point(panel, line, number, x, row.measured, row.low, row.high)
