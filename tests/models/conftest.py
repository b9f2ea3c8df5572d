import sys
import uuid
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def published():
    """The folder with the weights that the CAPM paper published."""
    folder = Path(__file__).parents[3] / "shared" / "reference" / "capm"
    if not folder.is_dir():
        pytest.skip(f"no published weights in {folder}")
    return folder


@pytest.fixture
def module_here(tmp_path, monkeypatch):
    """Write a module into the working directory; its name is new each time, as modules are cached by name."""
    monkeypatch.chdir(tmp_path)
    name = f"mine_{uuid.uuid4().hex}"

    def create(text):
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield create
    sys.modules.pop(name, None)
