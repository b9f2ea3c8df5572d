"""What a run of robustness asks."""

from dataclasses import asdict, dataclass, field
from typing import Any

from calipers.core.devices import told
from calipers.core.digests import digest_json
from calipers.core.space import InputSpace
from calipers.core.threat import ThreatModel

KIND = "robustness"


@dataclass(frozen=True)
class MethodSpec:
    """A method by name with every parameter it ran with, defaults included.

    minimum_norm: an attack that answers for all radii at once; its records have no epsilon but a distance.
    """

    name: str
    parameters: dict[str, Any] = field(default_factory=dict)
    minimum_norm: bool = False


@dataclass(frozen=True)
class RobustnessTask:
    """All that decides a run's records. Two tasks with the same `digest` compute the same thing.

    norm: of the perturbation, as `Distance` names it. epsilons: radii; none where only distances are asked for.
    space: with its unit settled. batch_size: samples per unit of work. versions: of python, torch, numpy and calipers.
    device: where it is computed, with the model's name for an accelerator.
    """

    model: str
    model_digest: str
    weights: str | None
    data: str
    data_digest: str
    class_names: tuple[str, ...]
    samples: int
    norm: str
    epsilons: tuple[float, ...]
    space: InputSpace
    attacks: tuple[MethodSpec, ...]
    verifiers: tuple[MethodSpec, ...]
    seed: int
    batch_size: int
    versions: dict[str, str]
    device: str = "cpu"

    @property
    def kind(self) -> str:
        return KIND

    @property
    def title(self) -> str:
        radii = " ".join(f"{epsilon:g}" for epsilon in self.epsilons)
        return f"{self.model} on {self.data}, {self.samples} samples, {self.norm}{' ' if radii else ''}{radii}"

    @property
    def domain(self) -> tuple[float, float] | None:
        return self.space.domain

    @property
    def unit(self) -> str:
        return str(self.space.unit)

    @property
    def scale(self) -> tuple[float, ...]:
        return self.space.scale or (1.0,)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {**{name: value for name, value in asdict(self).items() if name != "device"}, **told(self.device)}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "RobustnessTask":
        """Inverse of `to_dict`, also after a trip through JSON."""
        methods = {key: tuple(MethodSpec(**method) for method in raw[key]) for key in ("attacks", "verifiers")}
        tuples = {key: tuple(raw[key]) for key in ("class_names", "epsilons")}
        return cls(**{**raw, **methods, **tuples, "space": InputSpace.from_dict(raw["space"])})

    @property
    def digest(self) -> str:
        return digest_json(self.to_dict())

    def threat(self, epsilon: float) -> ThreatModel:
        """The settled threat model at one radius."""
        return ThreatModel(self.norm, epsilon, space=self.space)
