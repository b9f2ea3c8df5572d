"""Experiments that measure perturbations relative to their images, in place of rates at radii."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from calipers.core.errors import InputError
from calipers.core.space import InputSpace
from calipers.core.tables import Row
from calipers.core.tracker import Tracker
from calipers.data.images import ImageDataset
from calipers.data.loading import load_dataset
from calipers.evaluate.relative.statistics import Relative, relatives_of
from calipers.evaluate.relative.task import CODEC, Aim, RelativeTask
from calipers.evaluate.relative.worker import RelativeWorker
from calipers.evaluate.reproduce.network import Published, Trained
from calipers.evaluate.run import begin, run
from calipers.models.loading import LoadedModel
from calipers.store.store import Store

# Which images of the test split, from a model and all of them.
Choice = Callable[[nn.Module, ImageDataset], tuple[int, ...]]


@dataclass(frozen=True)
class FirstImages:
    """The first so many, whatever they show and however they are classified."""

    count: int

    def __call__(self, model: nn.Module, data: ImageDataset) -> tuple[int, ...]:
        return tuple(range(min(self.count, len(data))))


@dataclass(frozen=True)
class OneOfEach:
    """For each of these classes, the image of which the model is surest that it shows what it does, of the first 1,000.

    Raises InputError where there is none.
    """

    classes: tuple[int, ...]

    def __call__(self, model: nn.Module, data: ImageDataset) -> tuple[int, ...]:
        images, labels = data.batch(slice(0, 1000))
        probability = model(images).softmax(1)
        right = probability.argmax(1) == labels
        sure = probability.amax(1).masked_fill(~right, -1)
        chosen = []
        for one in self.classes:
            of_class = sure.masked_fill(labels != one, -1)
            if float(of_class.amax()) < 0:
                raise InputError(f"figure: the model classifies no image of class {one} correctly; train it for longer")
            chosen.append(int(of_class.argmax()))
        return tuple(chosen)


@dataclass(frozen=True)
class RelativeExperiment:
    """One network and all aims. label: what rows are called. images: which. count: how many these are.

    paper: the paper's mean relative perturbation by aim; paper_error: its share of test errors.
    """

    label: str
    network: Published | Trained
    data: str
    aims: tuple[Aim, ...]
    images: Choice
    count: int
    paper: Mapping[str, float] = field(default_factory=dict)
    paper_error: float | None = None

    @property
    def work(self) -> int:
        """Images to go through, over all aims."""
        return self.count * len(self.aims)


@dataclass(frozen=True)
class Levels:
    """A figure of images and what became of them: a column per image, a row per aim."""


@dataclass(frozen=True)
class Matrix:
    """A figure of images pushed to several classes: a row per image, a column per aim."""


@dataclass(frozen=True)
class RelativeFinding:
    """An experiment and what came out of it. error: share of all test images. samples: the images that were taken."""

    experiment: RelativeExperiment
    run_id: str
    task: RelativeTask
    error: float
    tested: int
    relatives: tuple[Relative, ...]

    def rows(self) -> list[Row]:
        """The test error, then what the aims came to, the paper's figures beside."""
        experiment = self.experiment
        error = Row("test error", self.error, self.tested, "fraction", experiment.paper_error)
        found = [error, *(row for one in self.relatives for row in one.rows(experiment.paper.get(one.aim)))]
        return [Row(**{**vars(row), "name": f"{experiment.label} {row.name}"}) for row in found]


@dataclass(frozen=True)
class Bench:
    """What every measurement of a laboratory has in common. command: how to repeat it all, for the store."""

    store: Store
    data_dir: Path | None
    seed: int
    command: str


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
        space=InputSpace((0.0, 1.0)).for_model(model.std),
        seed=bench.seed,
    )
    started = begin(bench.store, task, bench.command, resume=True)
    run_id = run(started, RelativeWorker(task, model.module, data), CODEC, bench.store, tracker=tracker).run_id
    error = bench.store.metric(run_id, "error")
    found = relatives_of(bench.store.records(run_id, CODEC), [aim.name for aim in experiment.aims])
    return RelativeFinding(experiment, run_id, task, error, len(data), found)
