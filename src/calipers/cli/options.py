"""Options that several commands share, declared once."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from calipers.core.errors import InputError

Model = Annotated[
    str,
    typer.Option(help="Zoo name, package.module:callable, or a .json card, .pt2 or .onnx file."),
]
Data = Annotated[
    str,
    typer.Option(
        help="digits, mnist, fashion_mnist, cifar10, a Parquet folder, or package.module:callable.",
        show_default=False,
    ),
]
Weights = Annotated[Path | None, typer.Option(help="State dict: .safetensors, .pt or .pth.")]
Output = Annotated[
    str | None, typer.Option(metavar="NAME", help="Which output of an ONNX file is meant, if it has several.")
]
Split = Annotated[str, typer.Option(help="Split of the data set.")]
USUAL_SAMPLES = 100
Samples = Annotated[
    int | None,
    typer.Option(
        min=1,
        help=f"The first so many samples; by default {USUAL_SAMPLES}, or all if there are fewer.",
        show_default=False,
    ),
]
Domain = Annotated[str, typer.Option("--domain", help="Interval of valid input values, or none.")]
Eps = Annotated[list[str], typer.Option(metavar="RADIUS ...", help="One or more radii: 0.01 0.02 8/255.")]
BallNorm = Annotated[Literal["linf", "l2", "l1"], typer.Option(help="Norm of the perturbation.")]
Attacks = Annotated[
    str, typer.Option(help="fast, standard, strong or attacks by name, separated by commas; none: no upper jaw.")
]
Verifiers = Annotated[str, typer.Option(help="Verifiers by name, separated by commas; none: no lower jaw.")]
Propagations = Annotated[
    int, typer.Option(min=4, help="Forward and backward passes per sample for a minimum-norm attack.")
]
SearchTimeout = Annotated[float, typer.Option(min=0, help="Seconds per sample for a verifier that searches.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Samples per unit of work.")]
Name = Annotated[str | None, typer.Option(help="Name of the model in the report.", rich_help_panel="Output")]
DataName = Annotated[str | None, typer.Option(help="Name of the data in the report.", rich_help_panel="Output")]


def _folder(path: Path) -> Path:
    if path.exists() and not path.is_dir():
        raise InputError(f"--out {path}: is a file; accepted: a folder, also one that is still to be made")
    return path


def _target(file: str | None) -> str | None:
    if file is not None and file != "-" and not Path(file).parent.is_dir():
        raise InputError(f"--json {file}: there is no folder {Path(file).parent}; accepted: a file in a folder, or -")
    if file is not None and Path(file).is_dir():
        raise InputError(f"--json {file}: is a folder; accepted: a file, or - for standard output")
    return file


Out = Annotated[Path, typer.Option(help="Folder of the run store.", rich_help_panel="Output", callback=_folder)]
Json = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="Write the numbers as JSON; - prints only them.",
        rich_help_panel="Output",
        callback=_target,
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Folder with data sets in the hub's Parquet layout; default: CALIPERS_DATA, else the Hub."),
]
Seed = Annotated[int, typer.Option(help="All random draws derive from it.")]
Memory = Annotated[int, typer.Option(min=1, help="MiB for the coefficients of a verifier.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes, each with one thread; records do not depend on it.")]
Device = Annotated[
    str, typer.Option(metavar="DEVICE", help="Where to compute: cpu, cuda, cuda:N, mps, or auto for what is there.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a run of the same specification stopped.")]


def domain(text: str) -> tuple[float, float] | None:
    """An input domain: "none" or "low,high"."""
    if text == "none":
        return None
    try:
        low, high = (float(value) for value in text.split(","))
    except ValueError as error:
        raise InputError(f"--domain {text!r} is not a domain; accepted: none, or low,high such as 0,1") from error
    return low, high


def names(text: str) -> list[str]:
    """A comma-separated list; "none" is empty."""
    return [] if text == "none" else [name.strip() for name in text.split(",") if name.strip()]
