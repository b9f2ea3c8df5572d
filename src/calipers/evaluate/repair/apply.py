"""Repaired copies of models, as files."""

from pathlib import Path

import onnx
import safetensors.torch
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from calipers.core.digests import digest_module
from calipers.core.errors import InputError, ModelError
from calipers.core.files import write_whole
from calipers.graph.from_onnx import load_onnx_network
from calipers.graph.graph import GraphModule
from calipers.graph.onnx_file import read_model
from calipers.models.card import read_card, save_model
from calipers.models.export import export_onnx
from calipers.models.loading import LoadedModel
from calipers.repairs.patch import Patch


def apply_patch(patch: Patch, model: LoadedModel, reference: str, weights: Path | None, out: Path) -> None:
    """Write the repaired copy of a model to `out`: a card with weights (*.json), weights alone (*.safetensors), or ONNX
    (*.onnx): of a model that was given so, the same file with other numbers.

    reference, weights: as the model was given. Raises ModelError where the patch is for another model, InputError for
    an ending that does not fit, or a file that would overwrite the model's own.
    """
    repaired = patch.apply(model.module)
    given = [
        Path(reference),
        *([] if weights is None else [weights]),
        *([] if model.weights is None else [model.weights]),
    ]
    for written in (out, out.with_suffix(".safetensors")):
        if any(one.exists() and written.exists() and one.samefile(written) for one in given):
            raise InputError(f"--out {out}: would overwrite the model that is repaired; accepted: another name")
    match out.suffix:
        case ".json":
            _save_card(patch, repaired, reference, out)
        case ".safetensors":
            state = {name: tensor.detach().cpu().contiguous() for name, tensor in repaired.state_dict().items()}
            _write(out, safetensors.torch.save(state))
        case ".onnx":
            if Path(reference).suffix == ".onnx":
                save_onnx(patch.delta, model.module, repaired, Path(reference), out)
            elif model.input_shape is None:
                raise InputError(
                    f"--out {out}: the shape of inputs of {reference} is not known; accepted: .safetensors"
                )
            else:
                export_onnx(repaired, out, model.input_shape)
        case other:
            raise InputError(f"--out {out}: the ending is {other!r}; accepted: .json, .safetensors or .onnx")


def _save_card(patch: Patch, repaired: nn.Module, reference: str, out: Path) -> None:
    source = Path(reference)
    if source.suffix == ".json":
        card = read_card(source)
        architecture, recipe, seed, data = card.architecture, card.recipe, card.seed, card.data_digest
    elif source.suffix in (".onnx", ".pt2"):
        raise InputError(f"--out {out}: a card names an architecture, which {reference} has none; accepted: .onnx")
    else:
        architecture, recipe, seed, data = reference, {}, 0, ""
    numbers = {k: float(v) for k, v in patch.card.numbers.items() if isinstance(v, int | float)}
    repair = {"repair": {"before": patch.card.before, "layer": patch.card.layer, "settings": patch.card.settings}}
    save_model(
        repaired,
        out,
        architecture=architecture,
        recipe={**recipe, **repair},
        seed=seed,
        data_digest=data,
        metrics=numbers,
    )


def save_onnx(delta: dict[str, Tensor], model: nn.Module, repaired: nn.Module, source: Path, out: Path) -> None:
    """The model's own ONNX file with other numbers in the initialisers of the tensors that change.

    They are found by their values. Raises ModelError where that is not possible, or the file reads back as another.
    """
    file = read_model(source, None)
    was, now = model.state_dict(), repaired.state_dict()
    for name in delta:
        _replace(file, name, was[name].cpu(), now[name].cpu())
    _write(out, file.SerializeToString())
    inputs = int(torch.Size(repaired.graph.input_shape).numel()) if isinstance(repaired, GraphModule) else None
    found = digest_module(GraphModule(load_onnx_network(out, inputs=inputs).graph))
    if found != digest_module(repaired):
        out.unlink()
        raise ModelError(f"{out}: reading it back gave digest {found[:12]}, not that of the repaired model")


def _replace(file: onnx.ModelProto, name: str, was: Tensor, now: Tensor) -> None:
    """Raises ModelError where not exactly one initialiser holds these numbers."""
    places = []
    for place, initialiser in enumerate(file.graph.initializer):
        values = torch.from_numpy(numpy_helper.to_array(initialiser).copy())
        if values.numel() != was.numel() or not values.is_floating_point():
            continue
        shaped = values.reshape(-1) if was.dim() == 1 else values
        if torch.equal(shaped, was):
            places.append((place, now.reshape(values.shape)))
        elif shaped.dim() == 2 and torch.equal(shaped.T, was):
            places.append((place, now.T.contiguous()))
    if len(places) != 1:
        raise ModelError(
            f"patch: {len(places)} initialisers of the ONNX file hold the numbers of {name}; accepted: one"
        )
    place, values = places[0]
    initialiser = file.graph.initializer[place]
    initialiser.CopyFrom(numpy_helper.from_array(values.numpy(), initialiser.name))


def _write(out: Path, content: bytes) -> None:
    try:
        write_whole(out, content)
    except OSError as error:
        raise InputError(f"--out {out}: {error.strerror}; give a file in a folder that can be written") from error
