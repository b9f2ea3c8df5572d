"""A family of instances as a CSV file, and the score on it."""

import csv
from dataclasses import dataclass
from pathlib import Path

import torch

from calipers.core.devices import CPU
from calipers.core.errors import CalipersError, InputError
from calipers.core.packed import decoded, read_packed
from calipers.graph.from_onnx import load_onnx_network
from calipers.verify.verifier import Limits
from calipers.verify.vnnlib.decide import Answer, SatOutcome, decide
from calipers.verify.vnnlib.property import Property

_COLUMNS = ("onnx", "vnnlib", "timeout_s")


@dataclass(frozen=True)
class Instance:
    """A network, a property and the seconds for them. expected: what others found, if anybody did."""

    onnx: Path
    vnnlib: Path
    timeout: float
    expected: SatOutcome | None = None

    @property
    def name(self) -> str:
        return f"{self.onnx.name} {self.vnnlib.name}"


@dataclass(frozen=True, eq=False)
class Score:
    """What became of an instance. error: why there is no answer, if there is none. note: what a reader has to know."""

    instance: Instance
    answer: Answer | None
    error: str = ""
    note: str = ""

    @property
    def word(self) -> str:
        """The outcome in one word."""
        return "error" if self.answer is None else self.answer.outcome.value

    @property
    def decided(self) -> bool:
        return self.word in (SatOutcome.SAT, SatOutcome.UNSAT)

    @property
    def contradicts(self) -> bool:
        """Whether it says the opposite of what was expected."""
        expected = self.instance.expected
        return self.decided and expected in (SatOutcome.SAT, SatOutcome.UNSAT) and self.word != expected


def load_instances(path: Path) -> tuple[Instance, ...]:
    """Lines onnx,vnnlib,seconds as VNN-COMP writes them, or with a header naming onnx, vnnlib, timeout_s, expected.

    Paths are relative to the file's folder; one that is there only in packed form (.gz) is found too. Raises InputError
    for a line that cannot be read.
    """
    try:
        lines = [line for line in csv.reader(decoded(read_packed(path)).splitlines()) if any(map(str.strip, line))]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"instances {path}: cannot be read ({error})") from error
    names = list(_COLUMNS)
    first = 1
    header = [name.strip() for name in lines[0]] if lines else []
    if header[:2] == ["onnx", "vnnlib"]:
        names, lines, first = header, lines[1:], 2
    instances = [
        _instance(path, number, dict(zip(names, line, strict=False))) for number, line in enumerate(lines, first)
    ]
    if not instances:
        raise InputError(f"instances {path}: holds no instance; accepted: lines onnx,vnnlib,seconds")
    return tuple(instances)


def score(instance: Instance, limits: Limits, output: str | None = None, device: torch.device = CPU) -> Score:
    """What comes of an instance; whatever is wrong with it is its score, as the others have to go on."""
    try:
        asked = Property.load(instance.vnnlib)
        network = load_onnx_network(instance.onnx, output=output, inputs=asked.inputs)
        return Score(instance, decide(network, asked, limits, device), note=asked.note)
    except CalipersError as error:
        return Score(instance, None, str(error))
    except Exception as error:  # a fault of ours, of torch or of onnxruntime: one instance must not end a family
        return Score(instance, None, f"internal error, please report it: {type(error).__name__}: {error}")


def _instance(path: Path, number: int, line: dict[str, str]) -> Instance:
    try:
        onnx, vnnlib = (_found(path.parent / line[name].strip()) for name in ("onnx", "vnnlib"))
        timeout = float(line[_COLUMNS[2]])
        expected = line.get("expected", "").strip()
        return Instance(onnx, vnnlib, timeout, SatOutcome(expected) if expected else None)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"instances {path}, line {number}: {','.join(line.values())!r} is not onnx,vnnlib,seconds ({error})"
        ) from error


def _found(path: Path) -> Path:
    packed = path.with_name(f"{path.name}.gz")
    return packed if packed.is_file() and not path.is_file() else path
