"""What attacks reached in a benchmark, kept line by line so that a run that was broken off goes on."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.core.results import MinimumNormResult


@dataclass(frozen=True)
class Finding:
    """What an attack reached on a target within a budget.

    reached: the distance of every image, inf where nothing was found. spent: passes per image, on average. seconds:
    for all images together.
    """

    model: str
    distance: Distance
    propagations: int
    attack: str
    reached: tuple[float, ...]
    spent: float
    seconds: float

    @classmethod
    def of(cls, model: str, distance: Distance, propagations: int, attack: str, result: MinimumNormResult) -> "Finding":
        spent = float((result.forwards + result.backwards).double().mean())
        return cls(model, distance, propagations, attack, tuple(result.distance.tolist()), spent, result.seconds)

    @property
    def key(self) -> tuple[str, Distance, int, str]:
        return self.model, self.distance, self.propagations, self.attack

    @property
    def label(self) -> str:
        return " ".join(str(part) for part in self.key)


@dataclass(frozen=True)
class Book:
    """A file of findings, one JSON object per line; without a path nothing is kept."""

    path: Path | None

    def read(self, model: str, images: int) -> dict[tuple[str, Distance, int, str], Finding]:
        """What the file holds of a model. Raises InputError where it was measured on another number of images."""
        if self.path is None or not self.path.exists():
            return {}
        found = {}
        for line in self.path.read_text().splitlines():
            entry = json.loads(line)
            finding = Finding(**entry | {"distance": Distance(entry["distance"]), "reached": tuple(entry["reached"])})
            if finding.model != model:
                continue
            if len(finding.reached) != images:
                raise InputError(
                    f"{self.path}: {finding.label} has {len(finding.reached)} images, this run has {images}; "
                    "accepted: the same --samples, or another file"
                )
            found[finding.key] = finding
        return found

    def write(self, finding: Finding) -> None:
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(asdict(finding)) + "\n")
