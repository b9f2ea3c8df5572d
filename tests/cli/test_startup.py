"""What must not be imported before it is needed: each takes a good part of a second."""

import subprocess
import sys

import pytest

HEAVY = {"scipy.optimize", "scipy.stats", "scipy.sparse", "highspy", "sklearn", "datasets", "pyarrow", "matplotlib"}


@pytest.mark.parametrize(
    ("imports", "forbidden"),
    [
        ("calipers.cli.main", {*HEAVY, "torch", "numpy", "onnx"}),
        ("calipers.evaluate.progress", {*HEAVY, "torch", "numpy", "onnx"}),
        ("calipers.core.radius", {*HEAVY, "torch", "numpy", "onnx"}),
        ("calipers.verify, calipers.verify.vnnlib, calipers.graph.from_onnx", HEAVY),
        ("calipers.attacks", HEAVY),
    ],
)
def test_imports_come_when_they_are_needed(imports: str, forbidden: set[str]) -> None:
    program = f"import sys, {imports}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not forbidden & set(loaded)
