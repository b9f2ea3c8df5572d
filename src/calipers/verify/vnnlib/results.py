"""A folder that takes every answer as soon as it is there, so that a stopped family goes on where it was."""

import csv
from pathlib import Path

from calipers.core.errors import InputError
from calipers.core.files import write_whole
from calipers.verify.vnnlib.decide import Answer, SatOutcome
from calipers.verify.vnnlib.instances import Instance, Score

_HEADER = ("onnx", "vnnlib", "outcome", "seconds", "error", "note")


class Results:
    """Scores of a family, in a folder or, without one, in memory only.

    The folder holds results.csv, one line per answer, and a counterexample in VNN-COMP's format beside each `sat`.
    """

    def __init__(self, folder: Path | None, instances: tuple[Instance, ...], scores: dict[Instance, Score]) -> None:
        self._folder, self._instances, self._scores = folder, instances, scores

    @classmethod
    def open(cls, folder: Path | None, instances: tuple[Instance, ...], *, resume: bool) -> "Results":
        """Raises InputError if the folder holds results that are not to be resumed, or damaged ones."""
        if folder is None:
            return cls(None, instances, {})
        file = folder / "results.csv"
        if not file.exists():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with file.open("w", newline="", encoding="utf-8") as out:
                    csv.writer(out).writerow(_HEADER)
            except OSError as error:
                raise InputError(f"--results {folder}: {error.strerror}; accepted: a folder to write in") from error
            return cls(folder, instances, {})
        if not resume:
            raise InputError(f"--results {folder}: holds results already; accepted: --resume, or another folder")
        return cls(folder, instances, _read(file, instances))

    @property
    def left(self) -> tuple[Instance, ...]:
        """Instances without a score."""
        return tuple(instance for instance in self._instances if instance not in self._scores)

    @property
    def scores(self) -> tuple[Score, ...]:
        """What is known, in the order of the instances."""
        return tuple(self._scores[instance] for instance in self._instances if instance in self._scores)

    def add(self, score: Score) -> None:
        """Keep a score, in the folder first."""
        self._scores[score.instance] = score
        if self._folder is None:
            return
        instance, answer = score.instance, score.answer
        if answer is not None and answer.unsafe is not None:
            number = self._instances.index(instance) + 1
            name = f"{number:04d}-{instance.onnx.stem}-{instance.vnnlib.stem}.counterexample"
            write_whole(self._folder / name, f"{answer}\n".encode())
        seconds = "" if answer is None else f"{answer.seconds:.3f}"
        with (self._folder / "results.csv").open("a", newline="", encoding="utf-8") as out:
            csv.writer(out).writerow((instance.onnx, instance.vnnlib, score.word, seconds, score.error, score.note))


def _read(file: Path, instances: tuple[Instance, ...]) -> dict[Instance, Score]:
    known = {(str(instance.onnx), str(instance.vnnlib)): instance for instance in instances}
    scores = {}
    with file.open(newline="", encoding="utf-8") as lines:
        for number, line in enumerate(csv.DictReader(lines), start=2):
            try:
                instance = known[line["onnx"], line["vnnlib"]]
                scores[instance] = _score(instance, line)
            except (KeyError, ValueError, TypeError) as error:
                raise InputError(
                    f"{file}, line {number}: is not a result of these instances ({error}); accepted: another folder"
                ) from error
    return scores


def _score(instance: Instance, line: dict[str, str]) -> Score:
    if line["outcome"] == "error":
        return Score(instance, None, line["error"])
    answer = Answer(SatOutcome(line["outcome"]), float(line["seconds"]))
    return Score(instance, answer, note=line.get("note") or "")
