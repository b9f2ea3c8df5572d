"""What `train` and `demo` do: a training with a progress bar, and measurements of what came out."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from calipers.api import measure
from calipers.cli.options import USUAL_SAMPLES
from calipers.cli.said import command_line
from calipers.core.devices import device_of
from calipers.core.threat import ThreatModel, as_threat
from calipers.data.images import ImageDataset
from calipers.data.loading import load_dataset
from calipers.evaluate.progress import busy, track
from calipers.evaluate.training import task_of, train_in
from calipers.models.loading import build
from calipers.models.normalise import input_std
from calipers.report.page import Report
from calipers.report.views import view_of
from calipers.store.store import Store
from calipers.train import Recipe, TrainedModel, Trainer, steps_of
from calipers.train.log import log_of


@dataclass(frozen=True)
class Training:
    """What is asked. out: the card. runs: folder of the store. measured: threats as text, measured afterwards.
    log: csv, tensorboard or none, beside the card.

    device: to train and to measure on. Raises InputError where a threat or a device is none, or a threat does not fit
    the model, before anything is trained.
    """

    recipe: Recipe
    out: Path
    runs: Path
    data_dir: Path | None = None
    measured: tuple[str, ...] = ()
    device: str = "cpu"
    log: str | None = None

    def __post_init__(self) -> None:
        device_of(self.device)
        for threat in self.threats:
            threat.for_model(input_std(build(self.recipe.model)[0]))

    @cached_property
    def threats(self) -> tuple[ThreatModel, ...]:
        """In the domain of the adversary, if the recipe has one."""
        adversary = self.recipe.adversary
        domain = (0.0, 1.0) if adversary is None else adversary.domain
        return tuple(as_threat(text, "--measure", domain) for text in self.measured)

    def trained(self, *, resume: bool) -> "Trained":
        """With a progress bar. resume: from the checkpoint, if there is one."""
        recipe, log = self.recipe, log_of(self.log, self.out)
        with busy(f"loading {recipe.data}"):
            dataset = load_dataset(recipe.data, "train", recipe.samples, self.data_dir)
            held_out = load_dataset(recipe.data, "test", None, self.data_dir)
            trainer = Trainer(recipe, dataset, self.out, device_of(self.device), log)
        with Store(self.runs) as store, track(steps_of(recipe, dataset)) as tracker:
            model = train_in(store, trainer, held_out, command_line(), tracker, resume=resume)
            run = store.find(task_of(trainer))
            assert run is not None
            return Trained(self, model, held_out, view_of(store, run.run_id).rows)


@dataclass(frozen=True, eq=False)
class Trained:
    """What came out of it. history: rows of the training for machines."""

    training: Training
    model: TrainedModel
    held_out: ImageDataset
    history: dict[str, Any]

    def measured(self, *, resume: bool) -> Iterator[Report]:
        """The model measured against one threat after the other, as `calipers measure` does it."""
        for threat in self.training.threats:
            yield measure(
                self.model.model,
                self.held_out,
                threat,
                out=self.training.runs,
                resume=resume,
                device=self.training.device,
                command=self._command(threat),
            )

    def to_json(self, reports: Sequence[Report]) -> dict[str, Any]:
        """All numbers in the project's shape: the rows of the training, then those of every measurement."""
        numbers = [report.to_json() for report in reports]
        rows = [*self.history["rows"], *(row for one in numbers for row in one["rows"])]
        warnings = [*self.history["warnings"], *(said for one in numbers for said in one["warnings"])]
        return {**self.history, "command": command_line(), "rows": rows, "warnings": warnings, "measured": numbers}

    def _command(self, threat: ThreatModel) -> str:
        """How to measure it again without training."""
        samples = min(len(self.held_out), USUAL_SAMPLES)
        radii = [f"{radius:g}" if float(f"{radius:g}") == radius else repr(radius) for radius in threat.epsilons]
        domain = "none" if threat.domain is None else ",".join(f"{side:g}" for side in threat.domain)
        words = ["calipers", "measure", "--model", str(self.training.out), "--data", self.training.recipe.data]
        words += ["--norm", str(threat.norm), "--eps", *radii, "--samples", str(samples), "--domain", domain]
        words += [] if threat.unit is None else ["--unit", str(threat.unit)]
        words += [] if self.training.device == "cpu" else ["--device", self.training.device]
        words += [] if self.training.data_dir is None else ["--data-dir", str(self.training.data_dir)]
        return shlex.join([*words, "--out", str(self.training.runs)])
