"""Models as ONNX files."""

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
import torch
from torch import nn

from calipers.core.errors import ModelError
from calipers.core.files import write_whole

_INPUTS = 8


def export_onnx(model: nn.Module, path: Path, input_shape: tuple[int, ...]) -> None:
    """Write a module in eval mode as ONNX with a free batch, after onnxruntime has computed the same up to rounding.

    input_shape: of one input. Raises ModelError where the module cannot be exported or the file computes another
    function.
    """
    x = torch.rand(_INPUTS, *input_shape, generator=torch.Generator().manual_seed(0))
    axes = {"input": {0: "batch"}, "output": {0: "batch"}}
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        # The other exporter needs packages that nothing else here needs.
        warnings.simplefilter("ignore")
        draft = Path(folder) / "model.onnx"
        names = {"input_names": ["input"], "output_names": ["output"], "dynamic_axes": axes}
        try:
            torch.onnx.export(model, (x[:2],), draft, dynamo=False, **names)  # type: ignore[arg-type]
        except Exception as error:  # whatever the exporter or the model raises, it is about this model
            raise ModelError(f"model: cannot be exported to ONNX ({type(error).__name__}: {error})") from error
        content = draft.read_bytes()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = session.run(None, {"input": x.numpy()})[0]
    with torch.no_grad():
        expected = model(x).numpy()
    apart = float(np.abs(found - expected).max())
    if not apart <= 1e-4 * (1 + float(np.abs(expected).max())):
        raise ModelError(f"model: its ONNX file gives outputs that differ by {apart:g}; it is not written")
    write_whole(path, content)
