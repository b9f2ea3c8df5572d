"""The built wheel, installed into a new environment, does the main job there."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = {
    "calipers/py.typed",
    "calipers/store/schema.sql",
    "calipers/train/recipes/digits.toml",
    "calipers/report/templates/page.html.j2",
    "calipers/report/templates/style.css",
    "calipers/report/templates/script.js",
}

pytestmark = pytest.mark.packaging


def run(*command: object, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    source = ROOT / "src"
    files = {
        str(path.relative_to(source))
        for path in (source / "calipers").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files <= held
    assert held >= NEEDED
    assert any(name.endswith("licenses/LICENSE") for name in held)
    assert not any(name.startswith(("tests/", "docs/")) for name in held)


def test_the_installed_wheel_does_the_main_job(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    programs = tmp_path / "venv" / "bin"
    pip = (programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile")
    run(*pip, "-c", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    where = run(programs / "python", "-c", "import calipers; print(calipers.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(tmp_path)
    output = run(programs / "calipers", "demo", "--out", tmp_path / "runs", cwd=tmp_path)
    page = Path(output.strip().splitlines()[-1])
    assert page.suffix == ".html"
    assert "<html" in page.read_text()
