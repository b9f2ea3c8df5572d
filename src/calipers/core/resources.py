"""What a run may spend, and which samples it takes and where it is kept: two records, and their flat form."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypedDict

from calipers.core.arguments import amount, whole_number
from calipers.core.devices import device_of
from calipers.core.errors import InputError
from calipers.core.registry import unknown


@dataclass(frozen=True)
class Resources:
    """What a run may spend. What is None is as a method that is given as an object says; else the usual.

    memory: MiB for the coefficients of a verifier, shared out among the workers (usual: 1024). timeout: seconds per
    sample and radius for a verifier that searches (usual: 60). propagations: forward and backward passes per sample
    for a minimum-norm attack (usual: 1000). batch_size: samples per unit of work. workers: processes. threads: of each
    process at most; None: as torch has them. device: cpu, cuda, cuda:N, mps or auto. Records do not depend on workers
    and threads; they say on which device they were made.
    """

    memory: Any = None
    timeout: Any = None
    propagations: Any = None
    batch_size: Any = 50
    workers: Any = 1
    threads: Any = None
    device: Any = "cpu"

    def __post_init__(self) -> None:
        for name, least in (("memory", 1), ("propagations", 4), ("batch_size", 1), ("workers", 1), ("threads", 1)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, whole_number(name, getattr(self, name), least))
        if self.timeout is not None:
            object.__setattr__(self, "timeout", amount("timeout", self.timeout))
        object.__setattr__(self, "device", str(device_of(self.device)))

    @property
    def bytes(self) -> int:
        """Memory of a method that is given by name."""
        return (self.memory or 1024) * 2**20

    @property
    def seconds(self) -> float:
        """Of a search that is given by name, per sample and radius."""
        return 60.0 if self.timeout is None else self.timeout

    @property
    def passes(self) -> int:
        """Of a minimum-norm attack that is given by name."""
        return self.propagations or 1000


@dataclass(frozen=True)
class Keeping:
    """Which samples a run takes, what things are called, and where it is kept.

    epsilons: radii instead of the threat's own. samples: the first ones; None: 100, or all if fewer. certify: write a
    certificate for every verified sample to `out`/certificates/RUN. name, data_name: of model and data, for the report.
    out: folder of the run store. resume: go on with a run of the same task. command: how to repeat it, for the report.
    """

    epsilons: Any = None
    samples: Any = None
    seed: Any = 0
    certify: bool = False
    name: str | None = None
    data_name: str | None = None
    out: Path | str = "calipers-runs"
    resume: bool = False
    command: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", whole_number("seed", self.seed, 0))
        if self.samples is not None:
            object.__setattr__(self, "samples", whole_number("samples", self.samples, 1))


class Options(TypedDict, total=False):
    """Both records, field by field, as keywords of `measure` and `attack`."""

    memory: int | None
    timeout: float | None
    propagations: int | None
    batch_size: int
    workers: int
    threads: int | None
    device: str
    epsilons: Any
    samples: int | None
    seed: int
    certify: bool
    name: str | None
    data_name: str | None
    out: Path | str
    resume: bool
    command: str | None


DEFAULTS = {one.name: one.default for record in (Resources, Keeping) for one in fields(record)} | {
    "memory": 1024,
    "timeout": 60.0,
    "propagations": 1000,
}


def gathered(options: Mapping[str, Any], resources: Resources | None) -> tuple[Resources, Keeping]:
    """The records of what was given as keywords. Raises InputError for a name that neither has, or a wrong value."""
    for name in options:
        if name not in DEFAULTS:
            raise unknown("option", name, DEFAULTS)
    spent = {name: options[name] for name in (one.name for one in fields(Resources)) if name in options}
    kept = {name: options[name] for name in (one.name for one in fields(Keeping)) if name in options}
    if resources is not None and not isinstance(resources, Resources):
        raise InputError(f"resources: is a {type(resources).__name__}; accepted: calipers.Resources(memory=512)")
    return replace(resources or Resources(), **spent), Keeping(**kept)
