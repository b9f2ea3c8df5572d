"""Families of instances: what is read, what is kept, what is scored."""

import gzip
from pathlib import Path

import pytest

from calipers.bounds import WorkBudget
from calipers.core.errors import InputError
from calipers.verify import Limits
from calipers.verify.vnnlib import Score, load_instances, score
from calipers.verify.vnnlib.results import require_free, write_results
from tests.limits import NEVER
from tests.verify.vnnlib.families import property_text, write_mlp

BOX = [(-0.1, 0.1), (-0.1, 0.1)]


@pytest.fixture
def family(tmp_path: Path) -> Path:
    write_mlp(tmp_path / "net.onnx", 3)
    (tmp_path / "easy.vnnlib").write_text(property_text(BOX, 3, "(assert (<= Y_0 -1000.0))"))
    packed = tmp_path / "any.vnnlib.gz"
    packed.write_bytes(gzip.compress(property_text(BOX, 3, "(assert (<= Y_0 1000.0))").encode()))
    (tmp_path / "bad.vnnlib").write_text("(assert")
    file = tmp_path / "instances.csv"
    file.write_text(
        "onnx,vnnlib,timeout_s,expected\nnet.onnx,easy.vnnlib,900,sat\nnet.onnx,any.vnnlib,900,sat\nnet.onnx,bad.vnnlib,900,\n"
    )
    return file


def run(file: Path) -> list[Score]:
    return [score(instance, Limits(WorkBudget(), NEVER)) for instance in load_instances(file)]


def test_every_instance_has_a_score(family: Path) -> None:
    scores = run(family)
    assert [score.word for score in scores] == ["unsat", "sat", "error"]
    assert [score.contradicts for score in scores] == [True, False, False]
    assert "bad.vnnlib" in scores[2].error


def test_no_file_ends_a_family(family: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "half.onnx").write_bytes((tmp_path / "net.onnx").read_bytes()[:200])
    (tmp_path / "other.vnnlib").write_text(property_text(BOX[:1], 3, "(assert (<= Y_0 0))"))
    (tmp_path / "swapped.vnnlib").write_text(property_text([(1.0, 0.0), (0.0, 1.0)], 3, "(assert (<= Y_0 0))"))
    wrong = [
        "empty.onnx,easy",
        "folder.onnx,easy",
        "half.onnx,easy",
        "none.onnx,easy",
        "net.onnx,none",
        "net.onnx,other",
    ]
    lines = [*wrong, "net.onnx,swapped", "net.onnx,easy"]
    # As spreadsheets save it: a byte order mark, other line ends, an empty line.
    family.write_bytes("\r\n".join([*(f"{line}.vnnlib,20" for line in lines), ",,"]).encode("utf-8-sig"))
    scores = run(family)
    assert [score.word for score in scores] == [*["error"] * len(wrong), "unsat", "unsat"]
    for line, found in zip(wrong, scores, strict=False):
        assert any(name in found.error for name in (*line.split(","), "speaks of 1 inputs"))
    assert "the input set is empty (the lower bound 1.0 of X_0 is above its upper bound 0.0)" in scores[-2].note

    def broken(*_: object) -> None:
        raise RuntimeError("shapes clash")

    monkeypatch.setattr("calipers.verify.vnnlib.instances.decide", broken)
    assert "RuntimeError: shapes clash" in run(family)[-1].error


def test_lines_as_vnn_comp_writes_them(family: Path) -> None:
    family.write_text("net.onnx,any.vnnlib,5\n\nnet.onnx,easy.vnnlib,6.5\n")
    instances = load_instances(family)
    assert [(i.vnnlib.name, i.timeout, i.expected) for i in instances] == [
        ("any.vnnlib.gz", 5.0, None),
        ("easy.vnnlib", 6.5, None),
    ]


@pytest.mark.parametrize(
    "text", ["", "onnx,vnnlib\na,b\n", "a,b\n", "a,b,soon\n", "onnx,vnnlib,timeout_s,expected\na,b,1,x\n"]
)
def test_lines_that_cannot_be_read(text: str, tmp_path: Path) -> None:
    file = tmp_path / "instances.csv"
    file.write_text(text)
    with pytest.raises(InputError, match="instances"):
        load_instances(file)


def test_results_are_files_for_other_tools(family: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    require_free(folder)
    write_results(folder, run(family))
    assert (folder / "0002-net-any.vnnlib.counterexample").read_text().startswith("sat\n((X_0 ")
    lines = (folder / "results.csv").read_text().splitlines()
    assert lines[0] == "onnx,vnnlib,outcome,seconds,error,note"
    assert [line.split(",")[2] for line in lines[1:]] == ["unsat", "sat", "error"]
    with pytest.raises(InputError, match="holds results already"):
        require_free(folder)
