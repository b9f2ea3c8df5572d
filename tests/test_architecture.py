"""The arrows between the rooms point down only (docs/design.md)."""

from pathlib import Path

from importlinter.application.use_cases import SUCCESS, lint_imports
from importlinter.configuration import configure


def test_imports_point_down() -> None:
    configure()
    assert lint_imports(config_filename=str(Path(__file__).parents[1] / "pyproject.toml"), cache_dir=None) == SUCCESS
