"""Experiments that measure perturbations relative to their images, in place of rates at radii."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from calipers.core.devices import CPU, described
from calipers.core.digests import digest_module
from calipers.core.errors import InputError
from calipers.core.space import InputSpace
from calipers.core.tables import Row
from calipers.core.tracker import Tracker
from calipers.data.images import ImageDataset
from calipers.data.loading import load_dataset
from calipers.evaluate.relative.statistics import OF_IMAGE, OF_WHITENED, Relative, relatives_of
from calipers.evaluate.relative.task import CODEC, Aim, RelativeTask
from calipers.evaluate.relative.worker import RelativeWorker
from calipers.evaluate.reproduce.choices import Choice
from calipers.evaluate.reproduce.network import Published, Trained
from calipers.evaluate.run import begin, run
from calipers.models.loading import LoadedModel
from calipers.models.placing import placed
from calipers.models.whitening import Whitened, Whitening
from calipers.store.store import Store
from calipers.train.whitening import behind

ERROR = "test error"


@dataclass(frozen=True)
class Corrupted:
    """Errors on test images after one step of FGSM. epsilon: of the step, in linf. paper: the paper's share.

    unit: of epsilon; "whitened": of values behind the model's whitening.
    """

    epsilon: float
    paper: float | None = None
    unit: Literal["pixel", "whitened"] = "pixel"

    @property
    def name(self) -> str:
        """Of its row."""
        return f"FGSM {self.epsilon:g} {'whitened ' * (self.unit == 'whitened')}error"

    @property
    def threat(self) -> dict[str, Any]:
        """Of its row."""
        return {"epsilon": self.epsilon, "norm": "linf", "epsilon_unit": self.unit}


@dataclass(frozen=True)
class RelativeExperiment:
    """One network and all aims. label: what rows are called. images: which. count: how many these are.

    Experiments with one label are repeats of each other with other seeds. paper: the paper's mean relative
    perturbation by aim; paper_error: its share of test errors; spreads: the paper's, by name of the row. fgsm:
    corruption whose errors are counted too. domain: of perturbed images; None: all of space. weight: where a sweep
    places the network. tested: the errors are those of the first so many test images; None: of all. validation: the
    last so many training images stand in for the test images, for choices that must not see these. whitened: the
    network is measured behind its whitening: images are whitened first, then perturbed.
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
    tested: int | None = None
    whitened: bool = False
    validation: int | None = None

    @property
    def error_name(self) -> str:
        """Of the row of errors on clean images."""
        return ERROR if self.validation is None else "validation error"

    @property
    def unit(self) -> str:
        """Of mean relative perturbations."""
        return OF_WHITENED if self.whitened else OF_IMAGE

    @property
    def work(self) -> int:
        """Images to go through, over all aims."""
        return self.count * len(self.aims)


@dataclass(frozen=True)
class RelativeFinding:
    """An experiment and what came out of it. error: share of the tested images; fgsm_error: likewise after FGSM."""

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
        error = Row(experiment.error_name, self.error, self.tested, "fraction", experiment.paper_error)
        corrupted, asked = [], experiment.fgsm
        if asked is not None:
            corrupted = [Row(asked.name, self.fgsm_error, self.tested, "fraction", asked.paper, **asked.threat)]
        relatives = (one.rows(experiment.paper.get(one.aim), experiment.unit) for one in self.relatives)
        found = [error, *corrupted, *(row for rows in relatives for row in rows)]
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
    data = _images(experiment, bench.data_dir)
    net, images = (model.module, data) if not experiment.whitened else _behind(model, data)
    task = RelativeTask(
        model=model.name,
        model_digest=model.digest,
        data=data.name,
        data_digest=data.digest,
        samples=experiment.images(net, images),
        aims=experiment.aims,
        space=InputSpace(experiment.domain).for_model(model.std),
        seed=bench.seed,
        fgsm=None if experiment.fgsm is None else experiment.fgsm.epsilon,
        device=described(bench.device),
        whitened=experiment.whitened,
    )
    started = begin(bench.store, task, bench.command, resume=True)
    run_id = run(
        started, RelativeWorker(task, placed(net, bench.device), images), CODEC, bench.store, tracker=tracker
    ).run_id
    error = bench.store.metric(run_id, "error")
    fgsm = None if experiment.fgsm is None else bench.store.metric(run_id, "fgsm_error")
    found = relatives_of(bench.store.records(run_id, CODEC), [aim.name for aim in experiment.aims])
    return RelativeFinding(experiment, run_id, task, error, len(data), found, fgsm)


def _images(experiment: RelativeExperiment, data_dir: Path | None) -> ImageDataset:
    """What the experiment counts errors on and takes its images from."""
    if experiment.validation is None:
        return load_dataset(experiment.data, "test", experiment.tested, data_dir)
    images = _training_images(experiment.data, data_dir)
    first = len(images) - experiment.validation
    if isinstance(experiment.network, Trained):
        recipe = experiment.network.recipe
        seen = (recipe.samples or len(images)) - recipe.validation.samples
        if seen > first:
            raise InputError(
                f"{experiment.label}: trained on {seen} of {len(images)} images, of which the last "
                f"{experiment.validation} are to validate; accepted: recipes that train on {first} at most"
            )
    return replace(images.subset(slice(first, None)), name=f"{images.name}, last {experiment.validation} for training")


# The networks of a choice look at the same images.
@lru_cache(maxsize=1)
def _training_images(data: str, data_dir: Path | None) -> ImageDataset:
    return load_dataset(data, "train", None, data_dir)


def _behind(model: LoadedModel, data: ImageDataset) -> tuple[nn.Module, ImageDataset]:
    """The network behind its whitening, and whitened images."""
    module = model.module
    if not isinstance(module, Whitened):
        raise InputError(f"model {model.name}: has no whitening to measure behind; accepted: a recipe with [whitening]")
    return module.net, _whitened(_Layers(digest_module(module.whitening), data.digest, module.whitening, data))


@dataclass(frozen=True)
class _Layers:
    """Whitening and a data set, told by their digests."""

    layers_digest: str
    data_digest: str
    layers: Whitening = field(compare=False)
    data: ImageDataset = field(compare=False)


# Networks trained on the same images have the same whitening.
@lru_cache(maxsize=1)
def _whitened(asked: _Layers) -> ImageDataset:
    return behind(asked.layers, asked.data)
