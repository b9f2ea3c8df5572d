"""Commands, laid out for reading. What is shown can be copied and run."""

import ast
import shlex
from itertools import pairwise
from pathlib import Path

from calipers.evaluate.robustness.task import RobustnessTask


def is_call(command: str) -> bool:
    """Whether a run's command is a Python call, not one of the shell."""
    try:
        return command.startswith("calipers.") and isinstance(ast.parse(command, mode="eval").body, ast.Call)
    except (SyntaxError, ValueError):
        return False


def script(call: str) -> str:
    """A Python call as a small program, one argument a line."""
    tree = ast.parse(call, mode="eval").body
    assert isinstance(tree, ast.Call)
    keywords = [f"{'**' if one.arg is None else f'{one.arg}='}{ast.unparse(one.value)}" for one in tree.keywords]
    arguments = "".join(f"    {text},\n" for text in [*map(ast.unparse, tree.args), *keywords])
    return f"import calipers\n\nreport = {ast.unparse(tree.func)}(\n{arguments})"


def shell_words(command: str) -> tuple[str, ...]:
    """The words of a shell command, each quoted as it has to be; the whole where it is none."""
    try:
        return tuple(shlex.quote(word) for word in shlex.split(command)) or (command,)
    except ValueError:
        return (command,)


def check_command(command: str, task: RobustnessTask, certificates: Path) -> str:
    """The shell command that checks a run's certificates. For a model that came as an object, MODEL stands."""
    given = _options(command)
    model = given.get("--model", task.model if Path(task.model).suffix in (".json", ".onnx", ".pt2") else "MODEL")
    weights = f" --weights {shlex.quote(given['--weights'])}" if "--weights" in given else ""
    return f"calipers check {shlex.quote(str(certificates))}/*.npz --model {shlex.quote(model)}{weights}"


def _options(command: str) -> dict[str, str]:
    """--model and --weights of a shell command, as `--model X` or `--model=X`."""
    try:
        words = shlex.split(command)
    except ValueError:
        return {}
    given = dict(pairwise(words)) | dict(word.split("=", 1) for word in words if "=" in word)
    return {name: given[name] for name in ("--model", "--weights") if name in given}
