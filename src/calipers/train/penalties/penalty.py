"""What a penalty is, and the names under which recipes find them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any

from jaxtyping import Float, Int
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError
from torch import Tensor, nn

from calipers.core.registry import Registry


class Penalty(BaseModel, ABC):
    """A term that is added to a loss, with its settings. weight: of the term."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: float = Field(gt=0)

    @abstractmethod
    def value(self, model: nn.Module, x: Float[Tensor, "batch *shape"], y: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        """The term without its weight, differentiable in the weights of the model. Samples without a label have -1."""

    def check(self, model: nn.Module, x: Float[Tensor, "batch *shape"]) -> None:
        """Raise InputError where the model cannot be penalised so."""
        return


PENALTIES: Registry[type[Penalty]] = Registry("penalty")


def _chosen(entries: Any) -> Any:
    """Penalties from tables with a `name`; what is a penalty already stays one."""
    if not isinstance(entries, list | tuple):
        return entries
    return tuple(_penalty(entry) for entry in entries)


def _penalty(entry: Any) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    settings = dict(entry)
    name = settings.pop("name", None)
    if name is None:
        raise ValueError(f"a penalty lacks its name; accepted: {', '.join(PENALTIES)}")
    try:
        return PENALTIES[name].model_validate(settings)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ValueError(f"penalty {name}: {faults}") from error


def _tables(penalties: tuple[Penalty, ...]) -> list[dict[str, Any]]:
    """Inverse of `_chosen`, with every setting written out."""
    names = {PENALTIES[name]: name for name in PENALTIES}
    return [{"name": names[type(one)], **one.model_dump(mode="json")} for one in penalties]


# As settings have them: in a recipe a table each, whose `name` says which.
Penalties = Annotated[tuple[Penalty, ...], BeforeValidator(_chosen), PlainSerializer(_tables)]
