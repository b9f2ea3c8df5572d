"""The program: its commands, and errors without tracebacks for what a user can mend."""

import re
import sys
from collections.abc import Sequence

import typer
from rich.console import Console

from calipers import __version__
from calipers.cli import (
    apply,
    attack,
    check,
    compare,
    demo,
    measure,
    models,
    repair,
    report,
    reproduce,
    runs,
    train,
    verify,
)
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
    compare.compare,
    attack.attack,
    verify.verify,
    check.check,
    train.train,
    repair.repair,
    apply.apply,
    reproduce.reproduce,
    models.models,
    runs.runs,
    runs.show,
    report.report,
):
    app.command()(command)

# Options that take several values, and what a value looks like; the other words stay what they are.
_LISTS = {"--eps": re.compile(r"-?[0-9.]|[^-]"), "--set": re.compile(r"[^-][^=]*=")}
# Those whose values commas separate too.
_COMMAS = {"--eps"}


def _version(wanted: bool) -> bool:
    if wanted:
        print(__version__)
        raise typer.Exit
    return wanted


@app.callback()
def _root(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True)) -> None:
    """Options of the program itself."""


def expand_lists(arguments: Sequence[str]) -> list[str]:
    """`--eps 0.01 0.02` as `--eps 0.01 --eps 0.02`, which is how the parser takes lists; commas separate as well.

    Whatever follows --eps up to the next option is a value, so that one that is no radius is named as such; after
    --set, whatever has an equals sign.
    """
    expanded: list[str] = []
    flag, waiting = "", False
    for argument in arguments:
        first, equals, value = argument.partition("=")
        if first in _LISTS:
            flag = first
            expanded += [text for one in _parts(flag, value) for text in (flag, one)] if equals else []
            waiting = not equals
        elif flag and _LISTS[flag].match(argument):
            expanded += [text for one in _parts(flag, argument) for text in (flag, one)]
            waiting = False
        else:
            expanded += [flag] if flag and waiting else []
            flag = ""
            expanded.append(argument)
    return [*expanded, flag] if flag and waiting else expanded


def _parts(flag: str, values: str) -> list[str]:
    parts = values.split(",") if flag in _COMMAS else []
    return [part for part in parts if part] or [values]


def main() -> None:
    """Entry point. Exit status 0 done, 1 a soundness breach, 2 an error of use, 130 interrupted."""
    keep_freed_memory()
    complain = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        app(args=expand_lists(sys.argv[1:]), prog_name="calipers")
    except KeyboardInterrupt:
        complain.print("stopped before any work was finished; repeat the command to start again")
        sys.exit(130)
    except SoundnessError as error:
        complain.print("[bold red]soundness breach:[/]", end=" ")
        complain.print(str(error), markup=False)
        sys.exit(1)
    except CalipersError as error:
        complain.print("[bold red]error:[/]", end=" ")
        complain.print(str(error), markup=False)
        sys.exit(2)
