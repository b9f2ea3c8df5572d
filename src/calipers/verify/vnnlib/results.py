"""The answers of a family as files for other tools: results.csv, and a counterexample beside each `sat`."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from calipers.core.errors import InputError
from calipers.core.files import write_whole
from calipers.verify.vnnlib.instances import Score

_HEADER = ("onnx", "vnnlib", "outcome", "seconds", "error", "note")


def require_free(folder: Path) -> None:
    """Raise InputError if a folder holds results already, or cannot be written in."""
    if (folder / "results.csv").exists():
        raise InputError(f"--results {folder}: holds results already; accepted: --resume, or another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--results {folder}: {error.strerror}; accepted: a folder to write in") from error


def write_results(folder: Path, scores: Sequence[Score]) -> None:
    """Write results.csv, one line per answer, and counterexamples in VNN-COMP's format, in place of earlier ones."""
    lines = io.StringIO(newline="")
    table = csv.writer(lines)
    table.writerow(_HEADER)
    for number, score in enumerate(scores, start=1):
        instance, answer = score.instance, score.answer
        seconds = "" if answer is None else f"{answer.seconds:.3f}"
        table.writerow((instance.onnx, instance.vnnlib, score.word, seconds, score.error, score.note))
        if answer is not None and answer.unsafe is not None:
            name = f"{number:04d}-{instance.onnx.stem}-{instance.vnnlib.stem}.counterexample"
            write_whole(folder / name, f"{answer}\n".encode())
    write_whole(folder / "results.csv", lines.getvalue().encode())
