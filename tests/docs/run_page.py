"""Do what a Markdown page says: its python blocks in one namespace, its console blocks in a shell, in order.

The first `calipers` command is run in the shell as well, and later ones in this process: starting takes longer than
most of them.

Also for people: `python tests/docs/run_page.py docs/tutorial.md` in an empty folder.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block. line: of its first line in the page, counted from 1."""

    language: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    """Every fenced block that names a language."""
    return [Block(m[1], m[2], page.count("\n", 0, m.start(2)) + 1) for m in _FENCE.finditer(page)]


def commands(block: Block) -> list[str]:
    """The lines of a console block that start with `$ `; a backslash at the end joins the next line."""
    joined = block.text.replace("\\\n", " ")
    return [line[2:] for line in joined.splitlines() if line.startswith("$ ")]


def run_page(path: Path, before: str = "") -> None:
    """Run a page in the current folder, `before` first; SystemExit names the command that failed."""
    namespace: dict[str, Any] = {"__name__": "page"}
    exec(before, namespace)
    known = False
    for block in blocks(path.read_text()):
        if block.language == "python":
            # Empty lines in front give tracebacks the page's own line numbers.
            exec(compile("\n" * (block.line - 1) + block.text, str(path), "exec"), namespace)
        elif block.language == "console":
            for command in commands(block):
                print(f"$ {command}", flush=True)
                here = known and command.startswith("calipers ")
                known |= command.startswith("calipers ")
                status = run_here(command) if here else subprocess.run(command, shell=True).returncode
                if status != 0:
                    sys.exit(f"{path}, block at line {block.line}: exit status {status} from: {command}")


def run_here(command: str) -> int:
    """The exit status of a calipers command in this process."""
    from calipers.cli.main import main

    with patch.object(sys, "argv", shlex.split(command)):
        try:
            main()
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


if __name__ == "__main__":
    run_page(Path(sys.argv[1]), "".join(sys.argv[2:3]))
