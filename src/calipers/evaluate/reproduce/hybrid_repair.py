"""Figure 3 of paper 000: what a repaired hybrid gets right; and the front of ridge and margin of our own repair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor, nn

from calipers.bounds import WorkBudget
from calipers.core.tables import Row
from calipers.core.threat import ThreatModel
from calipers.evaluate.reproduce.hybrid_accuracy import point_of, rate_row
from calipers.evaluate.reproduce.hybrid_bench import HybridBench, Sizes
from calipers.evaluate.reproduce.network import Trained
from calipers.evaluate.reproduce.relative_experiment import Bench
from calipers.evaluate.reproduce.study import Laid, Measured
from calipers.graph.from_torch import graph_of
from calipers.models.loading import LoadedModel
from calipers.repairs.change import Subject, repaired
from calipers.repairs.failing import Samples
from calipers.repairs.layers import chosen_layer, cut_at
from calipers.repairs.paper import fitted_change
from calipers.repairs.patch import delta_of, patched
from calipers.repairs.settings import RepairSettings


@dataclass(frozen=True)
class HybridRepaired:
    """NN, LH, the paper's repair (equation 3; RLH) and ours, on the test set (Data), on it with the adversaries of NN,
    LH and the model itself in place (NADV, HADV, RHADV), and on LH's adversaries alone (ADV).

    samples: adversaries that are repaired; the paper has one, and its wanted values are those of the clean sample.
    """

    label: str
    network: Trained
    data: str
    sizes: Sizes
    epsilons: tuple[float, ...]
    samples: int

    @property
    def parts(self) -> Sequence[str]:
        return tuple(f"repair at {epsilon:g}" for epsilon in self.epsilons)

    @property
    def settings(self) -> dict[str, Any]:
        own = {"study": "repair", "data": self.data, "epsilons": list(self.epsilons), "samples": self.samples}
        return {**own, **vars(self.sizes)}

    def laid(self, model: LoadedModel, bench: Bench) -> Laid:
        """See `Study`."""
        return _Repaired(self, HybridBench.of(model, self.data, self.sizes, bench))


@dataclass(frozen=True, eq=False)
class Repairer:
    """Repairs the linear hybrid of a bench. x, places: adversaries, and where their originals are in the test set."""

    bench: HybridBench

    @cached_property
    def subject(self) -> Subject:
        """The linear hybrid with the images that its head was fitted on."""
        lh = self.bench.lh
        count = min(self.bench.sizes.fit, 5000)
        clean = Samples(self.bench.train_x[:count], self.bench.train_labels[:count], tuple(range(count)))
        threat = ThreatModel("linf", 1.0).for_model(None)
        return Subject(lh, graph_of(lh, self.bench.x[:2]), clean, threat, WorkBudget())

    def ours(self, x: Tensor, places: Tensor, settings: RepairSettings) -> nn.Module:
        """By our own programme."""
        failures = Samples(x, self.bench.labels[places], tuple(places.tolist()))
        found = repaired(self.subject, failures, settings)
        return patched(self.bench.lh, delta_of(self.bench.lh, found.tensors)).eval()

    def as_published(self, x: Tensor, places: Tensor, price: float = 1.0) -> nn.Module:
        """By equation 3; bias and weights of unused features stay."""
        lh, graph = self.bench.lh, self.subject.graph
        cut = cut_at(graph, chosen_layer(lh, graph))
        features, clean = (cut.inputs(one)[:, : cut.features] for one in (x, self.bench.x[places]))
        weight = cut.weight[:, : cut.features]
        change = np.zeros_like(cut.weight)
        change[:, : cut.features] = fitted_change(weight, features, clean @ weight.T, price).change
        return patched(lh, delta_of(lh, cut.state(cut.weight + change))).eval()


@dataclass(frozen=True, eq=False)
class _Repaired:
    study: HybridRepaired
    hybrids: HybridBench

    @cached_property
    def repairer(self) -> Repairer:
        return Repairer(self.hybrids)

    def part(self, number: int) -> Measured:
        epsilon, bench = self.study.epsilons[number], self.hybrids
        adversarial = {"NN": bench.attacked(bench.nn, epsilon), "LH": bench.attacked(bench.lh, epsilon)}
        hadv, found = bench.in_place(bench.lh, adversarial["LH"])
        places = found.nonzero()[:, 0]
        chosen = places[: self.study.samples]
        one = places[:1]
        x = adversarial["LH"]
        models = {"NN": bench.nn, "LH": bench.lh}
        if len(chosen):
            models["RLH (eq. 3, one sample)"] = self.repairer.as_published(x[one], one)
            models["RLH (eq. 3)"] = self.repairer.as_published(x[chosen], chosen)
            models["RLH (ours)"] = self.repairer.ours(x[chosen], chosen, RepairSettings())
        sets = {"Data": bench.x, "NADV": bench.in_place(bench.nn, adversarial["NN"])[0], "HADV": hadv}
        rows = []
        for name, model in models.items():
            on = {**sets, **self._own(name, model, epsilon)}
            for where, inputs in on.items():
                rows.append(self._row(name, where, bench.right(model, inputs), epsilon))
            unseen = places[self.study.samples :]
            alone = bench.right(model, x)[unseen]
            rows.append(self._row(name, "ADV held out", alone, epsilon))
        points = [
            point_of(row, f"{self.study.label} {row.name.rpartition(' on ')[2]}", self._line(row), number, epsilon)
            for row in rows
            if row.measured is not None
        ]
        return Measured(rows, points)

    def _own(self, name: str, model: nn.Module, epsilon: float) -> Mapping[str, Tensor]:
        """With the adversaries of a repaired model itself in place."""
        if not name.startswith("RLH"):
            return {}
        return {"RHADV": self.hybrids.in_place(model, self.hybrids.attacked(model, epsilon))[0]}

    def _row(self, name: str, where: str, hits: Tensor, epsilon: float) -> Row:
        return rate_row(f"{self.study.label} {name} on {where}", hits.numpy(), None, epsilon)

    def _line(self, row: Row) -> str:
        return row.name.removeprefix(f"{self.study.label} ").partition(" on ")[0]


@dataclass(frozen=True)
class ParetoFront:
    """Clean accuracy against the share of held-out adversaries that are right, by ridge (lines) and margin (points)."""

    label: str
    network: Trained
    data: str
    sizes: Sizes
    epsilon: float
    samples: int
    ridges: tuple[float, ...]
    margins: tuple[float, ...]

    @property
    def parts(self) -> Sequence[str]:
        return tuple("l2" if np.isinf(ridge) else f"ridge {ridge:g}" for ridge in self.ridges)

    @property
    def settings(self) -> dict[str, Any]:
        own = {"study": "pareto", "data": self.data, "epsilon": self.epsilon, "samples": self.samples}
        grid = {"ridges": [str(ridge) for ridge in self.ridges], "margins": list(self.margins)}
        return {**own, **grid, **vars(self.sizes)}

    def laid(self, model: LoadedModel, bench: Bench) -> Laid:
        """See `Study`."""
        return _Front(self, HybridBench.of(model, self.data, self.sizes, bench))


@dataclass(frozen=True, eq=False)
class _Front:
    study: ParetoFront
    hybrids: HybridBench

    @cached_property
    def found(self) -> tuple[Tensor, Tensor, Repairer]:
        """Adversaries of the linear hybrid, the places of those that were found, and who repairs it."""
        x = self.hybrids.attacked(self.hybrids.lh, self.study.epsilon)
        return x, self.hybrids.in_place(self.hybrids.lh, x)[1].nonzero()[:, 0], Repairer(self.hybrids)

    def part(self, number: int) -> Measured:
        x, places, repairer = self.found
        chosen, held_out = places[: self.study.samples], places[self.study.samples :]
        line, rows, points = self.study.parts[number], [], []
        for step, margin in enumerate(self.study.margins):
            settings = RepairSettings(margin=margin, ridge=self.study.ridges[number])
            model = repairer.ours(x[chosen], chosen, settings)
            clean, right = self.hybrids.right(model, self.hybrids.x), self.hybrids.right(model, x)
            name = f"{self.study.label} {line}, margin {margin:g}"
            kept = rate_row(f"{name}: clean", clean.numpy())
            rows += [
                kept,
                rate_row(f"{name}: repaired", right[chosen].numpy(), None, self.study.epsilon),
                rate_row(f"{name}: held out", right[held_out].numpy(), None, self.study.epsilon),
            ]
            share = float(right[held_out].float().mean()) if len(held_out) else 0.0
            points.append(point_of(kept, self.study.label, line, step, 100 * share))
        if number == 0:
            right = self.hybrids.right(self.hybrids.lh, self.hybrids.x)
            before = rate_row(f"{self.study.label} LH before: clean", right.numpy())
            rows.insert(0, before)
            points.append(point_of(before, self.study.label, "before repair", 0, 0.0))
        return Measured(rows, points)
