"""What the zoo knows about a network, and the decorator that adds one."""

from collections.abc import Callable
from dataclasses import dataclass

from calipers.core.registry import Registry
from calipers.models.zoo.classifier import Classifier


@dataclass(frozen=True)
class ZooEntry:
    """A published architecture.

    build: makes it with new weights, drawn from torch's global generator. source: the paper. input_shape: of one
    input, without the batch. parameters: the trainable total where a paper's layout or count fixes it, else None.
    """

    name: str
    build: Callable[[], Classifier]
    source: str
    input_shape: tuple[int, ...]
    parameters: int | None
    note: str


ZOO: Registry[ZooEntry] = Registry("network")

Build = Callable[[], Classifier]


def network(
    name: str, source: str, input_shape: tuple[int, ...], parameters: int | None = None, note: str = ""
) -> Callable[[Build], Build]:
    """Decorator that adds a function without arguments to `ZOO`; the function itself stays as it is."""

    def register(build: Build) -> Build:
        ZOO.add(name)(ZooEntry(name, build, source, input_shape, parameters, note))
        return build

    return register
