"""Does the parts of a repair one by one: a stop loses no finished one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from calipers.attacks import Attack
from calipers.attacks.attack import run_attack
from calipers.core.digests import digest_module
from calipers.core.files import write_whole
from calipers.core.problem import Problem, Specification
from calipers.core.results import Verdict
from calipers.core.seeds import derive_seed
from calipers.core.tasks import Done
from calipers.core.tracker import Part, Silent, Tracker
from calipers.core.warnings import SanityWarning
from calipers.evaluate.repair.comparison import compared
from calipers.evaluate.repair.numbers import numbers_of
from calipers.evaluate.repair.task import RepairRecord, RepairTask, RepairUnit
from calipers.evaluate.repair.workspace import Workspace
from calipers.graph.from_torch import graph_of
from calipers.models.card import current_versions
from calipers.models.presented import examples
from calipers.repairs.change import Subject, repaired
from calipers.repairs.failing import Samples
from calipers.repairs.patch import Patch, PatchCard, delta_of, patched
from calipers.repairs.recheck import margins_of
from calipers.repairs.settings import Guarantee
from calipers.verify import Certifier, Verifier, run_verifier

# Samples that are attacked in one unit, and balls that are proven in one.
_ATTACKED, _PROVEN = 250, 5


@dataclass(frozen=True, eq=False)
class RepairWorker:
    """evaluation: the samples that failures are searched among, and that before and after are compared on. given: the
    failures, where they are not searched. attack: that finds them, and attacks afresh. verifier, certifier: of balls.
    """

    task: RepairTask
    subject: Subject
    evaluation: Samples
    given: Samples | None
    attack: Attack
    verifier: Verifier
    certifier: Certifier
    out: Path
    warnings: tuple[SanityWarning, ...] = ()
    tracker: Tracker = field(default_factory=Silent)

    @property
    def steps(self) -> int:
        balls = 0 if self.task.settings.guarantee is Guarantee.POINT else self.task.wanted
        return (len(self.evaluation) if self.given is None else 0) + 1 + balls + len(self.evaluation) + 1

    @property
    def workspace(self) -> Workspace:
        return Workspace.beside(self.out)

    def plan(self, done: Mapping[str, Sequence[RepairRecord]]) -> Sequence[RepairUnit]:
        """See `Worker`."""
        searches = [RepairUnit("search", i, n) for i, n in _chunks(len(self.evaluation), _ATTACKED)]
        units = searches if self.given is None else []
        if any(unit.name not in done for unit in units):
            return units
        change = RepairUnit("change")
        units = [*units, change]
        if change.name not in done:
            return units
        if self.task.settings.guarantee is not Guarantee.POINT:
            balls = done[change.name][0].values["repaired"]
            units += [RepairUnit("proof", i, n) for i, n in _chunks(balls, _PROVEN)]
        units += [RepairUnit("compare", i, n) for i, n in _chunks(len(self.evaluation), _ATTACKED)]
        if any(unit.name not in done for unit in units):
            return units
        return [
            *units,
            RepairUnit("patch", numbers=numbers_of(record for records in done.values() for record in records)),
        ]

    def execute(self, unit: RepairUnit) -> Done[RepairRecord]:
        """See `Worker`."""
        parts: dict[str, Callable[[RepairUnit], Done[RepairRecord]]] = {
            "search": self._search,
            "change": self._change,
            "proof": self._prove,
            "compare": self._compare,
            "patch": self._patch,
        }
        return parts[unit.part](unit)

    def summarise(self, records: Sequence[RepairRecord], warnings: Sequence[SanityWarning]) -> Mapping[str, Any]:
        """See `Worker`."""
        found = {record.part: record.values for record in records if record.part in ("change", "patch")}
        return {"repair": found["patch"]} if "patch" in found else {}

    def _search(self, unit: RepairUnit) -> Done[RepairRecord]:
        samples = self.evaluation[torch.arange(unit.first, unit.first + unit.count)]
        right = margins_of(self.subject.model, samples.x, samples.labels) > 0
        x = self._attacked(self.subject.model, samples, f"search-{unit.first}")
        wrong = right & (margins_of(self.subject.model, x, samples.labels) <= 0)
        self.workspace.keep_samples(unit.name, replace(samples, x=x, origin=samples.x)[wrong.nonzero()[:, 0]])
        values = {"samples": unit.count, "correct": int(right.sum()), "found": int(wrong.sum())}
        return Done([RepairRecord("search", unit.first, values)], warnings=self.warnings if unit.first == 0 else ())

    def _failures(self) -> tuple[Samples, Samples]:
        """Those to repair, and those that are held out."""
        if self.given is not None:
            every = self.given
        else:
            names = [RepairUnit("search", i, n).name for i, n in _chunks(len(self.evaluation), _ATTACKED)]
            every = self.workspace.samples(names[0])
            for name in names[1:]:
                every = every.joined(self.workspace.samples(name))
        places = torch.arange(len(every))
        return every[places[: self.task.wanted]], every[places[self.task.wanted :]]

    def _change(self, unit: RepairUnit) -> Done[RepairRecord]:
        failures, held_out = self._failures()
        before = 0 if self.given is not None else len(self.evaluation)
        tracker = Part(self.tracker, before, unit.doing)
        found = repaired(self.subject, failures, self.task.settings, self._adversary, tracker)
        self.workspace.keep("change", delta_of(self.subject.model, found.tensors))
        self.workspace.keep_samples("repaired", found.repaired)
        after = self.repaired_model
        values = {
            "layer": found.layer.name,
            "fixed": int((margins_of(after, failures.x, failures.labels) > 0).sum()),
            "held_out_fixed": int((margins_of(after, held_out.x, held_out.labels) > 0).sum()),
            "margin": found.margin,
            "failures": len(failures),
            "repaired": len(found.repaired),
            "held_out": len(held_out),
            "rounds": found.rounds,
            "rows": found.change.rows,
            "active": found.change.active,
            "cuts": found.change.rounds,
            "changed": int(np.count_nonzero(found.change.change)),
            "weights": found.change.change.size,
            "size": found.size,
            "least_double": found.rechecked.double,
            "least_deployed": found.rechecked.deployed,
            "seconds": found.seconds,
        }
        return Done([RepairRecord("change", 0, values)], warnings=self.warnings if self.given is not None else ())

    @property
    def repaired_model(self) -> nn.Module:
        """The model with the change."""
        return patched(self.subject.model, self.workspace.kept("change")).eval()

    def _prove(self, unit: RepairUnit) -> Done[RepairRecord]:
        """Each ball by a verifier that knows nothing of the repair, and a certificate that the checker accepts."""
        model = self.repaired_model
        samples = self.workspace.samples("repaired")[torch.arange(unit.first, unit.first + unit.count)]
        graph = graph_of(model, examples(model, self.evaluation.x))
        classes = len(graph.nodes[-1].shape) and graph.nodes[-1].shape[0]
        balls = self.subject.threat.at(self.task.settings.radius).around(samples.x)
        specification = Specification.classified_as(samples.labels, classes)
        problem = Problem(digest_module(model), samples.number, balls, specification)
        answers = run_verifier(self.verifier, model, graph, problem)
        records = []
        for i, number in enumerate(samples.number):
            name = None
            if answers.verdicts[i] is Verdict.VERIFIED:
                name = self._certified(graph, problem[i : i + 1], unit.first + i)
            values = {
                "sample": number,
                "verdict": str(answers.verdicts[i]),
                "certificate": name,
                "seconds": answers.seconds[i],
            }
            records.append(RepairRecord("proof", unit.first + i, values))
        return Done(records)

    def _certified(self, graph: Any, problem: Problem, place: int) -> str | None:
        """The file of a certificate in the workspace; None where no evidence passes the checker."""
        about = {"model": problem.model_digest, "data": self.task.data_digest, "sample": problem.sample_id[0]}
        certificate = self.certifier.certify(graph, problem, {**about, "unit": self.subject.threat.unit})
        if certificate is None:
            return None
        path = self.workspace.certificates / f"ball{place:04d}.npz"
        write_whole(path, certificate.packed())
        return str(path.relative_to(self.out.parent))

    def _compare(self, unit: RepairUnit) -> Done[RepairRecord]:
        samples = self.evaluation[torch.arange(unit.first, unit.first + unit.count)]
        seen = compared(
            (self.subject.model, self.repaired_model),
            samples,
            lambda model, clean: self._attacked(model, clean, f"fresh-{unit.first}"),
        )
        return Done([RepairRecord("compare", unit.first, vars(seen))])

    def _patch(self, unit: RepairUnit) -> Done[RepairRecord]:
        """Sum up, and write the patch if it costs no more than it may."""
        values = unit.numbers
        limit = self.task.max_drawdown
        accepted = limit is None or values["drawdown_pp"] <= limit
        values = {**values, "accepted": accepted, "max_drawdown": limit, "patch": str(self.out) if accepted else None}
        if accepted:
            card = PatchCard(
                model=self.task.model,
                before=self.task.model_digest,
                after=digest_module(self.repaired_model),
                layer=values["layer"],
                delta=self.out.with_suffix(".safetensors").name,
                settings=self.task.to_dict(),
                numbers={key: value for key, value in values.items() if key != "certificates"},
                certificates=values["certificates"],
                versions=current_versions(),
            )
            Patch(self.workspace.kept("change"), card).save(self.out)
        return Done([RepairRecord("patch", 0, values)])

    def _adversary(self, model: nn.Module, samples: Samples) -> Tensor:
        assert samples.origin is not None
        return self._attacked(model, replace(samples, x=samples.origin), "round")

    def _attacked(self, model: nn.Module, clean: Samples, name: str) -> Tensor:
        """The best inputs that an attack finds around clean ones."""
        found = []
        for part in torch.arange(len(clean)).split(_ATTACKED):
            samples = clean[part]
            with torch.no_grad():
                classes = model(samples.x[:1]).shape[1]
            problem = Problem(
                self.task.model_digest,
                samples.number,
                self.subject.threat.around(samples.x),
                Specification.classified_as(samples.labels, classes),
            )
            found.append(run_attack(self.attack, model, problem, derive_seed(self.task.seed, name)).adversarial)
        return torch.cat(found) if found else clean.x


def _chunks(total: int, size: int) -> list[tuple[int, int]]:
    return [(first, min(size, total - first)) for first in range(0, total, size)]
