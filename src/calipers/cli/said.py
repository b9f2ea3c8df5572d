"""What the user typed."""

import shlex
import sys


def command_line() -> str:
    """The command as the user gave it."""
    return shlex.join(["calipers", *sys.argv[1:]])
