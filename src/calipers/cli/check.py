"""calipers check."""

from pathlib import Path
from typing import Annotated

import typer

from calipers.cli.options import Output
from calipers.core.errors import InputError


def check(
    files: Annotated[list[Path], typer.Argument(help="Certificates, as --certify and --certificate write them.")],
    model: Annotated[str, typer.Option(help="The model as given to `calipers measure`, or an ONNX file.")],
    weights: Annotated[Path | None, typer.Option(help="State dict: .safetensors, .pt or .pth.")] = None,
    output: Output = None,
    property_: Annotated[
        Path | None,
        typer.Option("--property", help="VNN-LIB file: do the certificates together prove it for an ONNX model?"),
    ] = None,
) -> None:
    """Check certificates: recompute what they claim in float64 with every rounding error charged, numpy only.

    [bold]Example[/]

    calipers check certificates/*.npz --model digits.json
    """
    from calipers.evaluate.progress import busy, track

    for file in [*files, *([property_] if property_ is not None else [])]:
        if not file.is_file():
            what = "is a folder" if file.is_dir() else "there is no such file"
            raise InputError(f"check {file}: {what}; accepted: files, as --certify and --certificate write them")
    with busy("starting"):
        from calipers.api import load_model
        from calipers.cli.output import console
        from calipers.verify.audit import audit, audit_property

    with track(len(files)) as tracker:
        if property_ is None:
            findings = audit(files, load_model(model, weights, output=output).module, tracker.advance)
        else:
            findings = audit_property(files, Path(model), property_, tracker.advance, output)
    out = console()
    for finding in findings:
        word = "[bold cyan]accepted[/]" if finding.accepted else "[bold red]rejected[/]"
        out.print(f"{word} {finding.name}:", end=" ")
        out.print(finding.reason, markup=False, soft_wrap=True)
    if not all(finding.accepted for finding in findings):
        raise typer.Exit(1)
