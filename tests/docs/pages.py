"""The pages under test, and how to run one as a person would: in a new folder, with a new interpreter."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


def run(page: str, folder: Path, before: str = "") -> str:
    """What the page prints. The `calipers` of this interpreter's environment is the one that its commands find."""
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": beside}
    script = Path(__file__).with_name("run_page.py")
    done = subprocess.run(
        [sys.executable, script, ROOT / page, before],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout
