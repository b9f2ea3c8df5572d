"""The question, its units, and what is kept of every image."""

from dataclasses import asdict, dataclass
from typing import Any

from calipers.attacks import MinimumNormAttack
from calipers.core.devices import told
from calipers.core.digests import digest_json
from calipers.core.space import InputSpace
from calipers.evaluate.relative.goals import Goal

KIND = "relative"


@dataclass(frozen=True)
class Aim:
    """An attack, and what it has to reach. name: of its column."""

    name: str
    attack: MinimumNormAttack
    goal: Goal

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        goal = {"goal": type(self.goal).__name__, **asdict(self.goal)}  # type: ignore[call-overload]
        return {"name": self.name, "attack": self.attack.name, "parameters": self.attack.parameters, **goal}


@dataclass(frozen=True)
class RelativeTask:
    """A model, images of a data set, and all aims. samples: which images. batch_size: images per unit of work.

    fgsm: step of the fast gradient sign method whose errors are counted over the whole data set; None: not.
    device: where it is computed, with the model's name for an accelerator. whitened: images are perturbed behind the
    model's whitening, and their norms are taken there.
    """

    model: str
    model_digest: str
    data: str
    data_digest: str
    samples: tuple[int, ...]
    aims: tuple[Aim, ...]
    space: InputSpace
    seed: int
    batch_size: int = 100
    fgsm: float | None = None
    device: str = "cpu"
    whitened: bool = False

    @property
    def kind(self) -> str:
        return KIND

    @property
    def title(self) -> str:
        aims = ", ".join(aim.name for aim in self.aims)
        images = f"{len(self.samples)} {'whitened ' * self.whitened}images"
        return f"{self.model} on {self.data}: relative perturbations of {images} by {aims}"

    @property
    def digest(self) -> str:
        return digest_json(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        # What is not asked stays out of the digest, by which a run is found again.
        corrupted = {} if self.fgsm is None else {"fgsm": self.fgsm}
        whitened = {"whitened": True} if self.whitened else {}
        return {
            "model": self.model,
            "model_digest": self.model_digest,
            "data": self.data,
            "data_digest": self.data_digest,
            "samples": list(self.samples),
            "aims": [aim.to_dict() for aim in self.aims],
            "space": asdict(self.space),
            "seed": self.seed,
            "batch_size": self.batch_size,
            **corrupted,
            **whitened,
            **told(self.device),
        }


@dataclass(frozen=True)
class AimUnit:
    """One aim on a batch. first: of its images, counted in the task's samples."""

    aim: int
    label: str
    first: int
    count: int

    @property
    def name(self) -> str:
        return f"aim-{self.aim:02d}-{self.first:06d}"

    @property
    def doing(self) -> str:
        return self.label


@dataclass(frozen=True)
class RelativeRecord:
    """What became of an image.

    distance: in l2, None where the aim was not reached. size: l2 norm of the image. label: of the data. before, after:
    what the model predicts for the image and for what came out, confidence: how surely then. seconds: of the batch,
    shared evenly.
    """

    aim: str
    sample: int
    distance: float | None
    size: float
    label: int
    before: int
    after: int
    confidence: float
    passes: int
    seconds: float


class RelativeCodec:
    """A record per image and aim."""

    def place(self, record: RelativeRecord) -> int:
        """See `Codec`."""
        return record.sample

    def part(self, record: RelativeRecord) -> str:
        """See `Codec`."""
        return record.aim

    def dump(self, record: RelativeRecord) -> dict[str, Any]:
        """See `Codec`."""
        return asdict(record)

    def load(self, raw: dict[str, Any]) -> RelativeRecord:
        """See `Codec`."""
        return RelativeRecord(**raw)


CODEC = RelativeCodec()
