"""Ctrl-C, said truthfully: whether anything was kept, and how to go on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console


@contextmanager
def stoppable(remedy: str, kept: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Ctrl-C stops cleanly. kept: whether there is finished work, which the same command with `remedy` goes on from."""
    try:
        yield
    except KeyboardInterrupt:
        again = f"stopped; finished work is kept, repeat the command with {remedy} to go on"
        nothing = "stopped before any work was finished; repeat the command to start again"
        Console(stderr=True, soft_wrap=True).print(again if kept() else nothing)
        raise typer.Exit(130) from None


def finished_parts(folder: Path) -> Callable[[], bool]:
    """Whether a run of the command that is being done has finished a part of its work, now or earlier."""

    def kept() -> bool:
        if not any(folder.glob("*.sqlite")):  # the store takes seconds to import
            return False
        from calipers.cli.said import command_line
        from calipers.store.store import Store

        with Store(folder) as store:
            return any(
                _plain(run.command) == _plain(command_line()) and store.units(run.run_id) for run in store.runs()
            )

    return kept


def _plain(command: str) -> str:
    return command.replace(" --resume", "")
