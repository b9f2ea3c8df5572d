"""Saved models: weights as safetensors and, beside them, a JSON card that says where they come from."""

import importlib.metadata
import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy
import pydantic
import safetensors.torch
import torch
from torch import nn

from calipers.core.digests import digest_module
from calipers.core.errors import ModelError
from calipers.core.files import write_whole
from calipers.models.weights import check_finite
from calipers.models.whitening import Whitened

FORMAT_VERSION = 1


@pydantic.with_config(pydantic.ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class ModelCard:
    """What is known about saved weights.

    architecture: a zoo name or package.module:callable. recipe: how it was trained, every parameter included.
    data_digest: of the training data. metrics: name -> value. model_digest: `digest_module` of the loaded model.
    weights: the name of the weight file in the card's folder. versions: of python, torch, numpy and calipers.
    whitened: the shape of the inputs of whitening layers in front of the architecture, whose statistics are with the
    weights; None where there are none.
    """

    architecture: str
    recipe: dict[str, Any]
    seed: int
    data_digest: str
    metrics: dict[str, float]
    model_digest: str
    weights: str
    versions: dict[str, str]
    format_version: int = FORMAT_VERSION
    whitened: tuple[int, ...] | None = None


def save_model(
    module: nn.Module,
    path: Path,
    *,
    architecture: str,
    recipe: dict[str, Any],
    seed: int,
    data_digest: str,
    metrics: dict[str, float],
) -> ModelCard:
    """Write `path` (*.json) and the weights beside it (*.safetensors); both appear whole or not at all.

    The card is written last and names the digest of the weights, so a pair torn by a crash is noticed at loading.
    architecture: of a `Whitened` model, that of the network behind the whitening.
    Raises ModelError for another ending, for weights that are not finite, and where a file cannot be written.
    """
    if path.suffix != ".json":
        raise ModelError(f"card {path}: the ending is {path.suffix!r}; accepted: .json")
    weights = path.with_suffix(".safetensors")
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()}
    check_finite(state, str(weights))
    card = ModelCard(
        architecture,
        recipe,
        seed,
        data_digest,
        metrics,
        digest_module(module),
        weights.name,
        current_versions(),
        whitened=module.whitening.shape if isinstance(module, Whitened) else None,
    )
    text = json.dumps(asdict(card), indent=2, sort_keys=True, allow_nan=False)
    for file, content in ((weights, safetensors.torch.save(state)), (path, f"{text}\n".encode())):
        try:
            write_whole(file, content)
        except OSError as error:
            raise ModelError(f"{file}: cannot be written ({error.strerror})") from error
    return card


def read_card(path: Path) -> ModelCard:
    """The card in `path`. Raises ModelError for a file that is missing, damaged or of another format version."""
    try:
        raw = json.loads(path.read_bytes())
        card = pydantic.TypeAdapter(ModelCard).validate_python(raw)
    except OSError as error:
        raise ModelError(f"card {path}: cannot be read ({error.strerror})") from error
    except pydantic.ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc'])) or 'card'}: {e['msg'].lower()}" for e in error.errors()]
        rest = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise ModelError(
            f"card {path}: is no model card ({'; '.join(faults[:3])}{rest}); accepted: what `calipers train` writes"
        ) from error
    except ValueError as error:  # of json
        raise ModelError(f"card {path}: is no model card ({error})") from error
    if card.format_version != FORMAT_VERSION:
        raise ModelError(f"card {path}: format version {card.format_version}; accepted: {FORMAT_VERSION}")
    if Path(card.weights).name != card.weights:
        raise ModelError(f"card {path}: weights {card.weights!r} must be a file name in the card's own folder")
    return card


def current_versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    return {
        "calipers": importlib.metadata.version("calipers"),
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
