"""The program: its commands, and errors without tracebacks for what a user can mend."""

import re
import sys
from collections.abc import Sequence

import typer
from rich.console import Console

from calipers import __version__
from calipers.cli import attack, check, demo, measure, models, report, reproduce, runs, train, verify
from calipers.cli.memory import keep_freed_memory
from calipers.core.errors import CalipersError, SoundnessError

app = typer.Typer(
    help="How robust is a neural-network classifier? Measured from both sides: attacks from above, proofs from below.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
for command in (
    demo.demo,
    measure.measure,
    attack.attack,
    verify.verify,
    check.check,
    train.train,
    reproduce.reproduce,
    models.models,
    runs.runs,
    runs.show,
    report.report,
):
    app.command()(command)

_LISTS = {"--eps"}


def _version(wanted: bool) -> bool:
    if wanted:
        print(__version__)
        raise typer.Exit
    return wanted


@app.callback()
def _root(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True)) -> None:
    """Options of the program itself."""


def expand_lists(arguments: Sequence[str]) -> list[str]:
    """`--eps 0.01 0.02` as `--eps 0.01 --eps 0.02`, which is how the parser takes lists; commas separate as well."""
    expanded: list[str] = []
    flag = ""
    for argument in arguments:
        values = argument.split(",")
        if flag and all(re.fullmatch(r"-?[0-9.]+(e-?[0-9]+)?(/[0-9.]+)?", value, re.IGNORECASE) for value in values):
            for value in values:
                expanded += [flag, value]
            continue
        flag = argument if argument in _LISTS else ""
        if not flag:
            expanded.append(argument)
    return expanded


def main() -> None:
    """Entry point. Exit status 0 done, 1 a soundness breach, 2 an error of use, 130 interrupted."""
    keep_freed_memory()
    complain = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        app(args=expand_lists(sys.argv[1:]), prog_name="calipers")
    except SoundnessError as error:
        complain.print("[bold red]soundness breach:[/]", end=" ")
        complain.print(str(error), markup=False)
        sys.exit(1)
    except CalipersError as error:
        complain.print("[bold red]error:[/]", end=" ")
        complain.print(str(error), markup=False)
        sys.exit(2)
