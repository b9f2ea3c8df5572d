"""What the zoo knows about a network, and the decorator that adds one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

from calipers.core.registry import Registry


@dataclass(frozen=True)
class ZooEntry:
    """A published architecture: a classifier, or any other network, such as a generator or an encoder.

    build: makes it with new weights, drawn from torch's global generator. source: the paper. input_shape: of one
    input, without the batch. parameters: the trainable total where a paper's layout or count fixes it, else None.
    takes, gives: what inputs and outputs are.
    """

    name: str
    build: Callable[[], nn.Module]
    source: str
    input_shape: tuple[int, ...]
    parameters: int | None
    note: str
    takes: str = "images"
    gives: str = "logits"


ZOO: Registry[ZooEntry] = Registry("network")

M = TypeVar("M", bound=nn.Module)


def network(
    name: str,
    source: str,
    input_shape: tuple[int, ...],
    parameters: int | None = None,
    note: str = "",
    spaces: tuple[str, str] = ("images", "logits"),
) -> Callable[[Callable[[], M]], Callable[[], M]]:
    """Decorator that adds a function without arguments to `ZOO`; the function itself stays as it is.

    spaces: what it takes and what it gives, such as ("codes", "images") for a generator.
    """

    def register(build: Callable[[], M]) -> Callable[[], M]:
        ZOO.add(name)(ZooEntry(name, build, source, input_shape, parameters, note, *spaces))
        return build

    return register
