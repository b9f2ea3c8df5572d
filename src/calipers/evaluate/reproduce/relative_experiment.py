"""Experiments that measure perturbations relative to their images, in place of rates at radii."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from calipers.core.devices import CPU, described
from calipers.core.space import InputSpace
from calipers.core.tables import Row
from calipers.core.tracker import Tracker
from calipers.data.loading import load_dataset
from calipers.evaluate.relative.statistics import Relative, relatives_of
from calipers.evaluate.relative.task import CODEC, Aim, RelativeTask
from calipers.evaluate.relative.worker import RelativeWorker
from calipers.evaluate.reproduce.choices import Choice
from calipers.evaluate.reproduce.network import Published, Trained
from calipers.evaluate.run import begin, run
from calipers.models.loading import LoadedModel
from calipers.models.placing import placed
from calipers.store.store import Store

ERROR = "test error"


@dataclass(frozen=True)
class Corrupted:
    """Errors on test images after one step of FGSM. epsilon: of the step, in linf. paper: the paper's share."""

    epsilon: float
    paper: float | None = None

    @property
    def name(self) -> str:
        """Of its row."""
        return f"FGSM {self.epsilon:g} error"


@dataclass(frozen=True)
class RelativeExperiment:
    """One network and all aims. label: what rows are called. images: which. count: how many these are.

    Experiments with one label are repeats of each other with other seeds. paper: the paper's mean relative
    perturbation by aim; paper_error: its share of test errors; spreads: the paper's, by name of the row. fgsm:
    corruption whose errors are counted too. domain: of perturbed images; None: all of space. weight: where a sweep
    places the network.
    """

    label: str
    network: Published | Trained
    data: str
    aims: tuple[Aim, ...]
    images: Choice
    count: int
    paper: Mapping[str, float] = field(default_factory=dict)
    paper_error: float | None = None
    fgsm: Corrupted | None = None
    domain: tuple[float, float] | None = (0.0, 1.0)
    spreads: Mapping[str, float] = field(default_factory=dict)
    weight: float | None = None

    @property
    def work(self) -> int:
        """Images to go through, over all aims."""
        return self.count * len(self.aims)


@dataclass(frozen=True)
class RelativeFinding:
    """An experiment and what came out of it. error: share of all test images; fgsm_error: likewise after FGSM."""

    experiment: RelativeExperiment
    run_id: str
    task: RelativeTask
    error: float
    tested: int
    relatives: tuple[Relative, ...]
    fgsm_error: float | None = None

    def rows(self) -> list[Row]:
        """The test error, then what the aims came to, the paper's figures beside."""
        experiment = self.experiment
        error = Row(ERROR, self.error, self.tested, "fraction", experiment.paper_error)
        corrupted, asked = [], experiment.fgsm
        if asked is not None:
            corrupted = [Row(asked.name, self.fgsm_error, self.tested, "fraction", asked.paper)]
        found = [error, *corrupted, *(row for one in self.relatives for row in one.rows(experiment.paper.get(one.aim)))]
        return [Row(**{**vars(row), "name": f"{experiment.label} {row.name}"}) for row in found]


@dataclass(frozen=True)
class Bench:
    """What every measurement of a laboratory has in common. command: how to repeat it all. device: to compute on."""

    store: Store
    data_dir: Path | None
    seed: int
    command: str
    device: torch.device = CPU


def measure_relative(
    experiment: RelativeExperiment, model: LoadedModel, bench: Bench, tracker: Tracker
) -> RelativeFinding:
    """Do the experiment, or what is left of it."""
    data = load_dataset(experiment.data, "test", None, bench.data_dir)
    task = RelativeTask(
        model=model.name,
        model_digest=model.digest,
        data=experiment.data,
        data_digest=data.digest,
        samples=experiment.images(model.module, data),
        aims=experiment.aims,
        space=InputSpace(experiment.domain).for_model(model.std),
        seed=bench.seed,
        fgsm=None if experiment.fgsm is None else experiment.fgsm.epsilon,
        device=described(bench.device),
    )
    started = begin(bench.store, task, bench.command, resume=True)
    run_id = run(
        started, RelativeWorker(task, placed(model.module, bench.device), data), CODEC, bench.store, tracker=tracker
    ).run_id
    error = bench.store.metric(run_id, "error")
    fgsm = None if experiment.fgsm is None else bench.store.metric(run_id, "fgsm_error")
    found = relatives_of(bench.store.records(run_id, CODEC), [aim.name for aim in experiment.aims])
    return RelativeFinding(experiment, run_id, task, error, len(data), found, fgsm)
