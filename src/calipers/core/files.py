"""Files that are written whole or not at all, whenever the program is killed or the power fails."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """A file to write in, which takes the place of `path` at the end; that is as it was until then.

    Missing folders are made; a link stays, and what it leads to is replaced. Devices and pipes are written to as they
    are. Raises OSError.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    _sync_folder(path.parent)


def write_whole(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step; see `whole`."""
    with whole(path) as file:
        file.write(content)


def _sync_folder(folder: Path) -> None:
    """The new name survives a loss of power too, where the system can be asked for that (not on Windows)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
