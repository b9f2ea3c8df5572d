"""Does the experiments of a reproduction: trains or loads the networks, measures them, and keeps all of it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from calipers.core.devices import device_of
from calipers.core.errors import InputError
from calipers.core.space import InputSpace
from calipers.core.tracker import Part, Tracker
from calipers.data.loading import load_dataset
from calipers.evaluate.reproduce.experiment import Budget, Experiment, Finding, Reproduced, Reproduction
from calipers.evaluate.reproduce.network import Published, Trained
from calipers.evaluate.reproduce.relative_experiment import Bench, RelativeExperiment, measure_relative
from calipers.evaluate.reproduce.study import Study, measure_study
from calipers.evaluate.robustness.distances import distances_of
from calipers.evaluate.robustness.measure import measure, records_of
from calipers.evaluate.robustness.prepare import Settings, prepare
from calipers.evaluate.robustness.replay import replay
from calipers.evaluate.training import train_in
from calipers.models.loading import LoadedModel, load_model
from calipers.store.store import Store
from calipers.train import Recipe, Trainer, steps_of

Track = Callable[[int], AbstractContextManager[Tracker]]


@dataclass(frozen=True, eq=False)
class Laboratory:
    """Where experiments are done. Networks and runs that are there already are used again, unfinished ones go on.

    models: folder of the networks trained by recipe. weights: folder of published weights, None where there is none.
    data_dir: as of `load_dataset`. track: makes progress bars. command: how to repeat it all, for the store. device: to
    train and to measure on.
    """

    store: Store
    models: Path
    weights: Path | None
    data_dir: Path | None
    seed: int
    track: Track
    command: str
    device: str = "cpu"

    def reproduce(self, reproduction: Reproduction, budget: Budget) -> Reproduced:
        """Do every experiment for which the networks are there; the others become a warning."""
        planned = reproduction.experiments(budget)
        missing = sorted({e.network.file for e in planned if isinstance(e.network, Published)})
        warnings = list(reproduction.notes)
        if missing and self.weights is None:
            planned = tuple(e for e in planned if isinstance(e.network, Trained))
            warnings.append(
                f"published weights were not given, so their rows are missing ({', '.join(missing)}); "
                "name their folder with --weights"
            )
        relative, studies = reproduction.relatives(budget), reproduction.studies(budget)
        every: tuple[Experiment | RelativeExperiment | Study, ...] = (*planned, *relative, *studies)
        models = {id(e): self._model(e.network) for e in every}
        bench = Bench(self.store, self.data_dir, self.seed, self.command, device_of(self.device))
        findings, relatives, found_studies = [], [], []
        with self.track(sum(_work(e) for e in every)) as tracker:
            done = 0
            for experiment in planned:
                moved = Part(tracker, done, experiment.label)
                findings.append(self._measure(experiment, models[id(experiment)], moved))
                done += experiment.work
            for other in relative:
                moved = Part(tracker, done, other.label)
                relatives.append(measure_relative(other, models[id(other)], bench, moved))
                done += other.work
            for study in studies:
                moved = Part(tracker, done, study.label)
                found_studies.append(measure_study(study, models[id(study)], bench, moved))
                done += _work(study)
        found = sorted({w.message for finding in findings for w in finding.report.warnings if w.code == "graph"})
        return Reproduced(reproduction, tuple(findings), (*warnings, *found), tuple(relatives), tuple(found_studies))

    def _measure(self, experiment: Experiment, model: LoadedModel, tracker: Tracker) -> Finding:
        data = load_dataset(experiment.data, "test", experiment.samples, self.data_dir)
        space = InputSpace.of(experiment.domain, experiment.unit)
        settings = Settings(experiment.attacks, experiment.verifiers, self.seed, device=self.device)
        worker = prepare(model, data, space, experiment.distance, experiment.epsilons, settings)
        report = measure(self.store, worker, self.command, resume=True, tracker=tracker)
        replay(self.store, report.run_id, worker.subject)
        return Finding(experiment, report, distances_of(report.task, records_of(self.store, report.run_id)))

    def _model(self, network: Published | Trained) -> LoadedModel:
        match network:
            case Published(architecture, file):
                assert self.weights is not None
                path = self.weights / file
                if not path.is_file():
                    raise InputError(f"--weights {self.weights}: holds no {file}; give the folder with all the files")
                return load_model(architecture, path)
            case Trained(recipe, repeat):
                return trained(recipe.model_copy(update={"seed": self.seed + repeat}), self)


def _work(experiment: Experiment | RelativeExperiment | Study) -> int:
    """Steps of progress."""
    return len(experiment.parts) if isinstance(experiment, Study) else experiment.work


def trained(recipe: Recipe, laboratory: Laboratory) -> LoadedModel:
    """The network of a recipe: from the laboratory's folder if it is there, otherwise trained and kept there."""
    card = laboratory.models / f"{recipe.model}-{recipe.digest[:12]}.json"
    if card.is_file():
        return load_model(str(card))
    dataset = load_dataset(recipe.data, "train", recipe.samples, laboratory.data_dir)
    held_out = load_dataset(recipe.data, "test", None, laboratory.data_dir)
    with laboratory.track(steps_of(recipe, dataset)) as tracker:
        named = Part(tracker, 0, f"training {recipe.model}")
        trainer = Trainer(recipe, dataset, card, device_of(laboratory.device))
        return train_in(laboratory.store, trainer, held_out, laboratory.command, named, resume=True).model
