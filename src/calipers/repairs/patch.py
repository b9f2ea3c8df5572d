"""Patches: what a repair changes, as a small file beside a card that says what is known about it."""

import copy
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pydantic
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from calipers.core.digests import digest_module
from calipers.core.errors import ModelError
from calipers.core.files import write_whole
from calipers.repairs.layers import put_layer

FORMAT_VERSION = 1


@pydantic.with_config(pydantic.ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class PatchCard:
    """What is known about a patch.

    model: as it was given. before, after: digests of the model without and with it. layer: that changes. delta: the
    file of the differences. settings: what was asked. numbers: what was measured. certificates: files of proofs.
    """

    model: str
    before: str
    after: str
    layer: str
    delta: str
    settings: dict[str, Any]
    numbers: dict[str, Any]
    certificates: list[str]
    versions: dict[str, str]
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True, eq=False)
class Patch:
    """delta: what is added to tensors of the model, by name, in double precision."""

    delta: dict[str, Tensor]
    card: PatchCard

    def apply(self, model: nn.Module) -> nn.Module:
        """A repaired copy of a model. Raises ModelError for another model than the patch was made for."""
        found = digest_module(model)
        if found == self.card.after:
            raise ModelError(
                f"patch: the model has digest {found[:12]}, that of the repaired one: it is applied already"
            )
        if found != self.card.before:
            raise ModelError(
                f"patch: it was made for a model with digest {self.card.before[:12]}, this one has {found[:12]}; "
                f"accepted: {self.card.model} as it was"
            )
        return patched(model, self.delta, self.card.after)

    def save(self, path: Path) -> None:
        """Write the card to `path` (*.json), and the differences beside it; both appear whole or not at all."""
        text = json.dumps(asdict(self.card), indent=2, sort_keys=True, allow_nan=False)
        delta = {name: value.contiguous() for name, value in self.delta.items()}
        for file, content in (
            (path.parent / self.card.delta, safetensors.torch.save(delta)),
            (path, f"{text}\n".encode()),
        ):
            try:
                write_whole(file, content)
            except OSError as error:
                raise ModelError(f"{file}: cannot be written ({error.strerror})") from error

    @classmethod
    def load(cls, path: Path) -> "Patch":
        """Raises ModelError for files that are missing or damaged, or of another format."""
        try:
            card = pydantic.TypeAdapter(PatchCard).validate_python(json.loads(path.read_bytes()))
        except OSError as error:
            raise ModelError(f"patch {path}: cannot be read ({error.strerror})") from error
        except (pydantic.ValidationError, ValueError) as error:
            raise ModelError(
                f"patch {path}: is no patch; accepted: the .json file that `calipers repair` writes"
            ) from error
        if card.format_version != FORMAT_VERSION:
            raise ModelError(f"patch {path}: format version {card.format_version}; accepted: {FORMAT_VERSION}")
        if Path(card.delta).name != card.delta:
            raise ModelError(f"patch {path}: delta {card.delta!r} must be a file name in the patch's own folder")
        file = path.parent / card.delta
        try:
            delta = safetensors.torch.load(file.read_bytes())
        except OSError as error:
            raise ModelError(f"patch {file}: cannot be read ({error.strerror})") from error
        except safetensors.SafetensorError as error:
            raise ModelError(f"patch {file}: is damaged ({error})") from error
        return cls(delta, card)


def delta_of(model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What has to be added to a model's tensors to get these, as they are in the model's precision."""
    state = model.state_dict()
    return {
        name: value.to(state[name].dtype).double() - state[name].detach().cpu().double()
        for name, value in tensors.items()
    }


def patched(model: nn.Module, delta: dict[str, Tensor], expected: str | None = None) -> nn.Module:
    """A copy of a model with differences added. expected: its digest. Raises ModelError where it has another."""
    state = model.state_dict()
    unknown = [name for name in delta if name not in state]
    if unknown:
        raise ModelError(f"patch: the model has no tensor {unknown[0]!r}")
    wrong = [name for name, value in delta.items() if value.shape != state[name].shape]
    if wrong:
        one = wrong[0]
        raise ModelError(f"patch: {one} has shape {tuple(delta[one].shape)}, the model's {tuple(state[one].shape)}")
    repaired = copy.deepcopy(model)
    with torch.no_grad():
        put_layer(repaired, {name: state[name].cpu().double() + value for name, value in delta.items()})
    if expected is not None and digest_module(repaired) != expected:
        raise ModelError("patch: the repaired model is not the one of its card; the differences were changed since")
    return repaired
