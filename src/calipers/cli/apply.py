"""calipers apply."""

from pathlib import Path
from typing import Annotated

import typer

from calipers.cli.options import Model, Output, Weights


def apply(
    patch: Annotated[Path, typer.Argument(help="Card that `calipers repair` wrote.")],
    model: Model,
    out: Annotated[Path, typer.Option(help="Repaired model: a card (*.json), weights (*.safetensors) or *.onnx.")],
    weights: Weights = None,
    output: Output = None,
) -> None:
    """Write a repaired copy of a model. The model itself is never changed.

    [bold]Example[/]

    calipers apply patch.json --model digits.small --out repaired.json
    """
    from calipers.cli.output import console
    from calipers.evaluate.progress import busy

    with busy("starting"):
        from calipers.api import load_model
        from calipers.evaluate.repair.apply import apply_patch
        from calipers.repairs.patch import Patch

    found = Patch.load(patch)
    apply_patch(found, load_model(model, weights, output=output), model, weights, out)
    console().print(f"Repaired model:\n{out}", markup=False, soft_wrap=True)
