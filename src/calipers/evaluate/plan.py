"""What a run has to do, as units of work that are done or not done."""

import re
from dataclasses import dataclass

from calipers.core.records import Kind, RunSpec


@dataclass(frozen=True)
class Unit:
    """One method on one batch of consecutive samples at one epsilon.

    None is the epsilon of clean predictions and of minimum-norm attacks.
    """

    kind: Kind
    method: str
    epsilon: float | None
    first: int
    count: int

    @property
    def name(self) -> str:
        """Unique in its run and usable as a file name."""
        method = re.sub(r"[^A-Za-z0-9.]+", "_", self.method)
        radius = "" if self.epsilon is None else f"-eps{self.epsilon!r}"
        return f"{self.kind}-{method}{radius}-{self.first:06d}"

    @property
    def samples(self) -> slice:
        return slice(self.first, self.first + self.count)


def plan(spec: RunSpec) -> tuple[Unit, ...]:
    """The units of a run: clean predictions, minimum-norm attacks, then attacks and verifiers radius by radius."""
    batches = [(first, min(spec.batch_size, spec.samples - first)) for first in range(0, spec.samples, spec.batch_size)]
    units = [Unit(Kind.CLEAN, "clean", None, *batch) for batch in batches]
    for method in spec.attacks:
        if method.minimum_norm:
            units += [Unit(Kind.ATTACK, method.name, None, *batch) for batch in batches]
    for kind, methods in ((Kind.ATTACK, spec.attacks), (Kind.VERIFY, spec.verifiers)):
        for epsilon in spec.epsilons:
            for method in methods:
                if not method.minimum_norm:
                    units += [Unit(kind, method.name, epsilon, *batch) for batch in batches]
    return tuple(units)
