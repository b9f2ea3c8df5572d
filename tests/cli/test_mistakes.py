"""What the command line says about mistakes; in this process, as nothing heavy starts before they are noticed."""

import dataclasses
import io
import json
import sys
from pathlib import Path

import pytest
import typer
from rich.console import Console

from calipers.cli.main import main
from calipers.cli.stopping import finished_parts, stoppable
from calipers.core.tasks import Done
from calipers.evaluate.robustness.distances import BEST, Distances
from calipers.evaluate.robustness.records import SampleCodec
from calipers.report.nearest import NearestReport
from calipers.store.store import Store
from tests.tasks import TASK

NET = ["measure", "--model", "digits.maxpool", "--data", "digits"]


@pytest.fixture
def calipers(monkeypatch, tmp_path, capsys):
    """Runs a command in an empty folder: exit status, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["calipers", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capsys.readouterr()
        return int(stopped.value.code or 0), said.out, said.err

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*NET, "--eps", "abc"], "--eps: 'abc' is not a radius; accepted: a finite number"),
        ([*NET, "--eps", "0.1", "O.2"], "--eps: 'O.2' is not a radius"),
        ([*NET, "--eps", "-0.1"], "--eps: -0.1 is not a radius"),
        ([*NET, "--eps", "1/0"], "--eps: '1/0' is not a radius"),
        ([*NET, "--eps"], "requires an argument"),
        ([*NET, "--eps", "0.1", "--domain", "0"], "--domain '0' is not a domain"),
        ([*NET, "--eps", "0.1", "--out", "file"], "--out file: is a file; accepted: a folder"),
        ([*NET, "--eps", "0.1", "--json", "nowhere/x.json"], "--json nowhere/x.json: there is no folder nowhere"),
        ([*NET, "--eps", "0.1", "--json", "."], "--json .: is a folder"),
        ([*NET, "--eps", "0.1", "--samples", "0"], "--samples"),
        ([*NET, "--eps", "0.1", "--require", "certified"], "is no requirement; accepted"),
        ([*NET, "--eps", "0.1", "--require", "certified >= 0.9 @ 0.2"], "epsilon 0.2 is not measured"),
        (
            ["measure", "--model", "bad.json", "--data", "digits", "--eps", "0.1"],
            "is no model card (architecture: field",
        ),
        (["check", "missing.npz", "--model", "net.json"], "check missing.npz: there is no such file"),
        (["check", ".", "--model", "net.json"], "check .: is a folder"),
        (["check", "file", "--model", "net.json", "--property", "gone"], "check gone: there is no such file"),
        (["runs", "--out", "file"], "--out file: is a file"),
        (["compare", "digits.small", "--data", "digits", "--eps", "0.1"], "1 model was given; accepted: two or more"),
        (["compare", "a", "b", "--data", "digits", "--eps", "x"], "--eps: 'x' is not a radius"),
        (["compare", "bad.json", "b", "--data", "digits", "--eps", "0.1"], "bad.json: is no model card"),
    ],
)
def test_mistakes_are_errors_of_use_without_a_traceback(arguments, message, calipers, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "bad.json").write_text("{}")
    status, out, err = calipers(*arguments)
    assert (status, out) == (2, "")
    assert message in " ".join(err.split())
    assert "Traceback" not in err
    assert "errors.pydantic.dev" not in err
    assert "Errno" not in err


@pytest.mark.parametrize(("level", "status"), [("clean >= 0", 0), ("clean >= 1", 1)])
def test_a_level_that_is_not_reached_is_exit_status_1(level, status, calipers) -> None:
    quick = [*NET, "--eps", "0.1", "--attacks", "none", "--verifiers", "ibp", "--samples", "20"]
    found, out, _ = calipers(*quick, "--require", level, "--json", "-")
    assert found == status
    assert [one["passed"] for one in json.loads(out)["requirements"]] == [status == 0]
    assert json.loads(calipers("report", "--to", "page.html") and calipers("show", "--json", "-")[1])["rows"]


def stopped(kept) -> None:
    with pytest.raises(typer.Exit) as caught, stoppable("--resume", kept):
        raise KeyboardInterrupt
    assert caught.value.exit_code == 130


def test_ctrl_c_claims_kept_work_only_where_there_is_some(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["calipers", "measure", "--resume"])
    kept = finished_parts(tmp_path / "runs")
    stopped(kept)
    assert "before any work was finished" in capsys.readouterr().err
    with Store(tmp_path / "runs") as store:
        other, mine = (store.create_run(TASK, f"calipers {name}").run_id for name in ("attack", "measure"))
        store.add_unit(other, "clean", Done(), SampleCodec())
        stopped(kept)
        assert "before any work was finished" in capsys.readouterr().err
        store.add_unit(mine, "clean", Done(), SampleCodec())
    stopped(kept)
    assert "finished work is kept, repeat the command with --resume" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("width", [60, 100])
def test_no_word_of_a_table_is_split_in_a_narrow_terminal(width: int) -> None:
    task = dataclasses.replace(TASK, epsilons=())
    attacks = tuple(Distances(name, (0.123456, 1.5), 1000.0, 12.5) for name in ("nearest", "pdpgd-l0-pixels", BEST))
    screen = io.StringIO()
    Console(width=width, file=screen).print(NearestReport("run", "", task, 2, 2, attacks, ()).table(width))
    text = screen.getvalue()
    assert all(word in text for word in ("nearest", "pdpgd-l0-pixels", BEST, "median", "0.8117", "100.0 %", "found"))
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
