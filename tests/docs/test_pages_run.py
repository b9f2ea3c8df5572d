from tests.docs.pages import run

MODEL_AND_DATA = """
import calipers as cal
model = cal.load_model("digits.maxpool").module
dataset = cal.load_dataset("digits", limit=20)
"""


def test_the_readmes_python_block_runs(tmp_path):
    run("README.md", tmp_path, MODEL_AND_DATA)
    assert "<html" in (tmp_path / "report.html").read_text()


def test_the_examples_for_contributors_run(tmp_path):
    output = run("CONTRIBUTING.md", tmp_path)
    assert "attack:random" in output
    assert "verify:half" in output


def test_the_example_in_double_precision_runs(tmp_path):
    assert "float64" in run("docs/bounds.md", tmp_path)
