import re

from tests.docs.pages import ROOT, run
from tests.docs.run_page import blocks, commands


def test_the_tutorial_does_what_it_says(tmp_path):
    output = run("docs/tutorial.md", tmp_path)
    for name in ("report.html", "latest.html", "small.json", "small.safetensors", "net.onnx", "net.pt2"):
        assert (tmp_path / name).is_file(), name
    pages = re.findall(r"^(runs/\S+\.html)$", output, re.MULTILINE)
    assert pages
    assert all((tmp_path / page).is_file() for page in pages)


def test_the_tutorial_has_blocks_of_both_kinds():
    found = blocks((ROOT / "docs/tutorial.md").read_text())
    assert {block.language for block in found} >= {"python", "console"}
    assert all(commands(block) for block in found if block.language == "console")
