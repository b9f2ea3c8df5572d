"""What a repair is asked, and what is kept of its parts."""

from dataclasses import dataclass, field
from typing import Any

from calipers.core.digests import digest_json
from calipers.core.threat import ThreatModel
from calipers.repairs.settings import RepairSettings

KIND = "repair"


@dataclass(frozen=True)
class RepairTask:
    """failures: "attack:NAME", or the digest of the file that was given. threat: of the attack, and of the fresh one
    afterwards. wanted: failures to repair; those found beyond are held out. reference: digest of the clean data that
    the repair looks at. max_drawdown: percentage points of clean accuracy that it may cost; None: whatever it costs.
    """

    model: str
    model_digest: str
    data: str
    data_digest: str
    reference: str
    failures: str
    threat: ThreatModel
    settings: RepairSettings
    wanted: int
    max_drawdown: float | None
    seed: int

    @property
    def kind(self) -> str:
        return KIND

    @property
    def title(self) -> str:
        radius = "" if not self.settings.radius else f" of radius {self.settings.radius:g}"
        return f"repair of {self.model} on {self.data}, guarantee {self.settings.guarantee}{radius}"

    @property
    def digest(self) -> str:
        return digest_json(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        threat = {
            "norm": str(self.threat.norm),
            "epsilon": self.threat.epsilon,
            "domain": self.threat.domain,
            "unit": self.threat.unit and str(self.threat.unit),
            "scale": self.threat.scale,
        }
        return {**vars(self), "threat": threat, "settings": self.settings.to_dict()}


@dataclass(frozen=True)
class RepairUnit:
    """A part of the work. first, count: its samples. numbers: of the parts before, if it needs them."""

    part: str
    first: int = 0
    count: int = 1
    numbers: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def name(self) -> str:
        return f"{self.part}-{self.first:06d}"

    @property
    def doing(self) -> str:
        return {
            "search": "searching failures",
            "change": "solving for new weights",
            "proof": "proving repaired balls",
            "compare": "before and after",
            "patch": "writing the patch",
        }[self.part]


@dataclass(frozen=True)
class RepairRecord:
    """What one part found out. place: the sample that it is about; 0 where it is about all. values: JSON."""

    part: str
    place: int
    values: dict[str, Any]


class RepairCodec:
    """See `Codec`."""

    def place(self, record: RepairRecord) -> int:
        """See `Codec`."""
        return record.place

    def part(self, record: RepairRecord) -> str:
        """See `Codec`."""
        return record.part

    def dump(self, record: RepairRecord) -> dict[str, Any]:
        """See `Codec`."""
        return {"part": record.part, "place": record.place, "values": record.values}

    def load(self, raw: dict[str, Any]) -> RepairRecord:
        """See `Codec`."""
        return RepairRecord(**raw)


CODEC = RepairCodec()
