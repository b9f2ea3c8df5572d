"""Options that several commands share, declared once."""

from fractions import Fraction
from pathlib import Path
from typing import Annotated

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
Split = Annotated[str, typer.Option(help="Split of the data set.")]
Samples = Annotated[int, typer.Option(help="The first so many samples.")]
Domain = Annotated[str, typer.Option("--domain", help="Interval of valid input values, or none.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Samples per unit of work.")]
Out = Annotated[Path, typer.Option(help="Folder of the run store.", rich_help_panel="Output")]
Json = Annotated[
    str | None,
    typer.Option(
        "--json", metavar="FILE", help="Write the numbers as JSON; - prints only them.", rich_help_panel="Output"
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Folder with data sets in the hub's Parquet layout; default: CALIPERS_DATA, else the Hub."),
]
Seed = Annotated[int, typer.Option(help="All random draws derive from it.")]
Memory = Annotated[int, typer.Option(min=1, help="MiB for the coefficients of a verifier.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a run of the same specification stopped.")]


def radius(text: str) -> float:
    """A radius as a number or a fraction such as 8/255."""
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"--eps {text!r} is not a radius; accepted: 0.03 or 8/255") from error


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
