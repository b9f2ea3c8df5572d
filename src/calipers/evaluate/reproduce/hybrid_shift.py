"""What paper 000 leaves for later: how attacks shift features, groups of adversaries by it, and repair for a group."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from calipers.bounds import FUSED
from calipers.core.digests import digest_module
from calipers.core.problem import Problem, Specification
from calipers.core.results import Verdict
from calipers.core.seeds import derive_seed
from calipers.core.tables import Row
from calipers.core.threat import ThreatModel
from calipers.evaluate.reproduce.hybrid_accuracy import point_of, rate_row
from calipers.evaluate.reproduce.hybrid_bench import HybridBench, Sizes
from calipers.evaluate.reproduce.hybrid_repair import Repairer
from calipers.evaluate.reproduce.network import Trained
from calipers.evaluate.reproduce.relative_experiment import Bench
from calipers.evaluate.reproduce.study import Laid, Measured, Point
from calipers.graph.from_torch import graph_of
from calipers.models.loading import LoadedModel
from calipers.repairs.selection import p_values, selected
from calipers.repairs.settings import Guarantee, RepairSettings
from calipers.repairs.shifts import cosine, groups_of, mean_resultant_length
from calipers.verify import BoundVerifier, run_verifier


@dataclass(frozen=True)
class FeatureShift:
    """Shifts of features by FGSM on LH and on its repair; then, for each group of LH's adversaries, its own repair.

    A group's repair has half of its members, `most` at the most; the others are left out. Beside it stands a repair
    with as many adversaries of any group. proven: as many left-out members, with balls of this radius (linf, pixel)
    around them, are given to a verifier; the repairs then have linear guarantees of that radius. None: no proofs.
    """

    label: str
    network: Trained
    data: str
    sizes: Sizes
    epsilon: float
    groups: int
    most: int
    proven: tuple[int, float] | None

    @property
    def parts(self) -> Sequence[str]:
        return ("shifts", *(f"group {number + 1}" for number in range(self.groups)))

    @property
    def settings(self) -> dict[str, Any]:
        own = {"study": "shift", "data": self.data, "epsilon": self.epsilon, "groups": self.groups, "most": self.most}
        return {**own, "others": "not given", "proven": self.proven and list(self.proven), **vars(self.sizes)}

    def laid(self, model: LoadedModel, bench: Bench) -> Laid:
        """See `Study`."""
        return _Shifts(self, HybridBench.of(model, self.data, self.sizes, bench))


@dataclass(frozen=True, eq=False)
class _Attacked:
    """Adversaries of a model that were found. places: of their originals in the test set. shifts: of its features."""

    x: Tensor
    places: Tensor
    shifts: np.ndarray

    @classmethod
    def of(cls, hybrids: HybridBench, model: nn.Module, epsilon: float) -> "_Attacked":
        every = hybrids.attacked(model, epsilon)
        places = hybrids.in_place(model, every)[1].nonzero()[:, 0]
        x = every[places]
        shifts = (hybrids.features(x) - hybrids.features(hybrids.x[places])).double().numpy()
        return cls(x, places, shifts)


@dataclass(frozen=True, eq=False)
class _Shifts:
    study: FeatureShift
    hybrids: HybridBench

    @cached_property
    def before(self) -> _Attacked:
        return _Attacked.of(self.hybrids, self.hybrids.lh, self.study.epsilon)

    @cached_property
    def repairer(self) -> Repairer:
        return Repairer(self.hybrids)

    @cached_property
    def group(self) -> np.ndarray:
        """Of every adversary."""
        return groups_of(self.before.shifts, self.study.groups, self.hybrids.seed)

    def part(self, number: int) -> Measured:
        return self._of_group(number - 1) if number else self._of_classes()

    def _of_classes(self) -> Measured:
        """Shifts by class, before and after a repair of as many adversaries of any kind as a group's has."""
        chosen = self._drawn("classes", np.arange(len(self.before.places)))[: self.study.most]
        repaired = self.repairer.ours(self.before.x[chosen], self.before.places[chosen], RepairSettings())
        after = _Attacked.of(self.hybrids, repaired, self.study.epsilon)
        clean = self.hybrids.features(self.hybrids.x).double().numpy()
        unit = np.where(clean.std(0) > 0, clean.std(0), 1.0)
        sides = {"before repair": self.before, "after repair": after}
        rows = [row for name, side in sides.items() for row in self._sizes(name, side, clean)]
        rows += self._turned(after)
        classes = range(int(self.hybrids.labels.max()) + 1)
        maps = {
            f"map {name}": np.stack([self._mean(side, label) / unit for label in classes])
            for name, side in sides.items()
        }
        return Measured(rows, (), maps)

    def _sizes(self, name: str, side: _Attacked, clean: np.ndarray) -> list[Row]:
        """How far, how much in one direction, and how many features."""
        label, n = self.study.label, len(side.places)
        p = p_values(clean[side.places.numpy()], clean[side.places.numpy()] + side.shifts) if n > 1 else np.ones(1)
        lengths = np.linalg.norm(side.shifts, axis=1) / np.linalg.norm(clean[side.places.numpy()], axis=1)
        share = float(selected(p, false_discovery=True).mean())
        values = {
            "adversaries": (float(n), "adversaries"),
            "length of the shift, of the features'": (float(lengths.mean()) if n else None, "fraction"),
            "features shifted (Benjamini-Hochberg)": (share, "fraction"),
        }
        rows = [Row(f"{label} {name}: {what}", value, n, unit) for what, (value, unit) in values.items()]
        for k in range(int(self.hybrids.labels.max()) + 1):
            mine = side.shifts[self._of(side, k)]
            value = mean_resultant_length(mine) if len(mine) else None
            rows.append(Row(f"{label} {name}: mean resultant length within class {k}", value, len(mine), "of 1"))
        return rows

    def _turned(self, after: _Attacked) -> list[Row]:
        """By class, whether adversaries of the repair shift features as those of LH do, beside two halves of these."""
        rows = []
        for k in range(int(self.hybrids.labels.max()) + 1):
            mine = self.before.shifts[self._of(self.before, k)]
            other = after.shifts[self._of(after, k)]
            for what, one, two in (("two halves of LH's", mine[::2], mine[1::2]), ("LH's and RLH's", mine, other)):
                both = min(len(one), len(two))
                value = cosine(one, two) if both else None
                rows.append(Row(f"{self.study.label} class {k}: cosine of {what} mean shifts", value, both, "cosine"))
        return rows

    def _of(self, side: _Attacked, label: int) -> np.ndarray:
        """Which adversaries are of a class."""
        return (self.hybrids.labels[side.places] == label).numpy()

    def _mean(self, side: _Attacked, label: int) -> np.ndarray:
        mine = side.shifts[self._of(side, label)]
        return mine.mean(0) if len(mine) else np.zeros(side.shifts.shape[1])

    def _drawn(self, name: str, members: np.ndarray) -> np.ndarray:
        """In an order by chance."""
        return np.random.default_rng(derive_seed(self.hybrids.seed, "shift", name)).permutation(members)

    def _of_group(self, group: int) -> Measured:
        members = self._drawn(f"group {group}", np.flatnonzero(self.group == group))
        seen = members[: min(self.study.most, len(members) // 2)]
        left = members[len(seen) :]
        strangers = np.flatnonzero(self.group != group)
        anyone = self._drawn(f"any {group}", np.setdiff1d(np.arange(len(self.group)), left))[: len(seen)]
        label, number = self.study.label, group + 1
        rows: list[Row] = [Row(f"{label} group {number}: members", float(len(members)), len(members), "adversaries")]
        points: list[Point] = []
        for name, chosen in (("its own", seen), ("any", anyone)):
            model = self._repaired(chosen)
            right = self.hybrids.right(model, self.hybrids.x)
            found = self._right(model)
            prefix = f"{label} group {number}, repaired with {name}:"
            others = np.setdiff1d(strangers, chosen)
            fixed = rate_row(f"{prefix} members left out", found[left], None, self.study.epsilon)
            rows += [
                rate_row(f"{prefix} those it was given", found[chosen], None, self.study.epsilon),
                fixed,
                rate_row(f"{prefix} other groups", found[others], None, self.study.epsilon),
                rate_row(f"{prefix} clean", right.numpy()),
            ]
            if len(left):
                line = f"left out, repaired with {name}"
                points.append(point_of(fixed, f"{label}: right", line, group, float(number)))
            if self.study.proven is not None:
                count, radius = self.study.proven
                proven = rate_row(f"{prefix} left out, proven", self._proven(model, left[:count]), None, radius)
                rows.append(proven)
                if len(left):
                    points.append(point_of(proven, f"{label}: proven", line, group, float(number)))
        return Measured(rows, points)

    def _repaired(self, chosen: np.ndarray) -> nn.Module:
        """The hybrid itself where a group is too small to learn from."""
        if not len(chosen):
            return self.hybrids.lh
        proven = self.study.proven
        settings = RepairSettings() if proven is None else RepairSettings(Guarantee.LINEAR, proven[1])
        return self.repairer.ours(self.before.x[chosen], self.before.places[chosen], settings)

    def _right(self, model: nn.Module) -> np.ndarray:
        """Which of LH's adversaries a model classifies correctly."""
        with torch.no_grad():
            found = torch.cat([model(part).argmax(1) for part in self.before.x.split(500)])
        return (found == self.hybrids.labels[self.before.places]).numpy()

    def _proven(self, model: nn.Module, chosen: np.ndarray) -> np.ndarray:
        """Around which adversaries a ball is proven."""
        proven = np.zeros(len(chosen), dtype=bool)
        if not len(chosen) or self.study.proven is None:
            return proven
        x, places = self.before.x[chosen], self.before.places[chosen]
        balls = ThreatModel("linf", self.study.proven[1]).for_model(None).around(x)
        specification = Specification.classified_as(self.hybrids.labels[places], int(self.hybrids.labels.max()) + 1)
        problem = Problem(digest_module(model), tuple(places.tolist()), balls, specification)
        answers = run_verifier(BoundVerifier(FUSED), model, graph_of(model, x[:2]), problem)
        return np.array([verdict is Verdict.VERIFIED for verdict in answers.verdicts])
