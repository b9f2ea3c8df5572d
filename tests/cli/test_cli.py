"""The commands as a user types them."""

import contextlib
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import onnx
import pytest

from calipers.cli.main import app, expand_lists, main
from calipers.train import built_in_recipes
from tests.verify.vnnlib.families import property_text, write_mlp

SMALL = ["measure", "--model", "digits.maxpool", "--data", "digits", "--samples", "10"]


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    status: int
    stdout: str
    stderr: str


def run(*arguments: str, cwd: Path, expect: int = 0) -> Done:
    """A command in this process: one of its own would import torch anew, which takes longer than most commands."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        patch.object(sys, "argv", ["calipers", *arguments]),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default")
        with pytest.raises(SystemExit) as ended:
            main()
    return _checked(Done(int(ended.value.code or 0), out.getvalue(), err.getvalue()), expect)


def run_apart(*arguments: str, cwd: Path, expect: int = 0) -> Done:
    """A command in a process of its own, as from a shell."""
    done = subprocess.run([sys.executable, "-m", "calipers", *arguments], cwd=cwd, capture_output=True, text=True)
    return _checked(Done(done.returncode, done.stdout, done.stderr), expect)


def _checked(done: Done, expect: int) -> Done:
    assert done.status == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_lists_of_radii_in_every_spelling() -> None:
    expected = ["measure", "--eps", "0.01", "--eps", "1e-2", "--eps", "8/255", "--samples", "5"]
    assert expand_lists(["measure", "--eps", "0.01", "1e-2", "8/255", "--samples", "5"]) == expected
    assert expand_lists(["measure", "--eps", "0.01,1e-2", "8/255", "--samples", "5"]) == expected
    assert expand_lists(["measure", "--eps=0.01,1e-2", "8/255", "--samples", "5"]) == expected
    assert expand_lists(["measure", "--eps", "0.01", "--eps", "1e-2", "8/255", "--samples", "5"]) == expected


def test_what_is_no_radius_stays_a_value_of_its_option() -> None:
    assert expand_lists(["measure", "--eps", "x", "-1", "-n"]) == ["measure", "--eps", "x", "--eps", "-1", "-n"]
    assert expand_lists(["measure", "--eps"]) == ["measure", "--eps"]
    assert expand_lists(["measure", "--eps", "--seed", "1"]) == ["measure", "--eps", "--seed", "1"]


def test_changes_of_a_recipe_may_follow_one_option_and_stand_before_the_recipe() -> None:
    expected = ["train", "--set", "a=1,2", "--set", "b.c=[1, 2]", "digits"]
    assert expand_lists(["train", "--set", "a=1,2", "b.c=[1, 2]", "digits"]) == expected
    assert expand_lists(["train", "--set=a=1,2", "b.c=[1, 2]", "digits"]) == expected
    assert expand_lists(["train", "--set", "a", "--out=x"]) == ["train", "--set", "a", "--out=x"]


@pytest.mark.parametrize("command", ["", *(c.callback.__name__ for c in app.registered_commands if c.callback)])
def test_every_command_has_help_with_an_example(command: str, tmp_path: Path) -> None:
    text = run(*([command] if command else []), "--help", cwd=tmp_path).stdout
    assert "Usage" in text
    if command:
        assert f"calipers {command}" in text.replace("\n", " ")


def test_measure_show_report_runs(tmp_path: Path) -> None:
    done = run(*SMALL, "--eps", "0.01", "0.1", cwd=tmp_path)
    page = Path(done.stdout.strip().splitlines()[-1])
    assert (tmp_path / page).read_text().startswith("<!")
    assert "verify:capm" in done.stdout
    shown = json.loads(run("show", "latest", "--json", "-", cwd=tmp_path).stdout)
    names = {row["name"] for row in shown["rows"]}
    assert {"clean", "empirical", "certified", "undecided", "attack:pgd", "verify:capm"} <= names
    keys = {"name", "measured", "paper", "n", "low", "high", "unit", "seconds"}
    assert all(keys <= set(row) for row in shown["rows"])
    assert all(row["epsilon_unit"] == "pixel" for row in shown["rows"] if row["epsilon"] is not None)
    assert "complete" in run("runs", cwd=tmp_path).stdout
    written = run("report", "latest", "--to", "mine.html", cwd=tmp_path).stdout.strip()
    assert (tmp_path / written).exists()


def test_json_on_standard_output_is_alone(tmp_path: Path) -> None:
    done = run_apart(*SMALL, "--eps", "0.05", "--json", "-", cwd=tmp_path)
    data = json.loads(done.stdout)
    assert data["command"].startswith("calipers measure")
    assert {"version", "seed", "rows", "warnings"} <= set(data)


def test_a_finished_run_is_not_repeated_on_resume(tmp_path: Path) -> None:
    one = json.loads(run(*SMALL, "--eps", "0.05", "--json", "-", cwd=tmp_path).stdout)
    two = json.loads(run(*SMALL, "--eps", "0.05", "--resume", "--json", "-", cwd=tmp_path).stdout)
    assert one["rows"] == two["rows"]
    assert one["run"] == two["run"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["measure", "--model", "capm.convsmal", "--data", "digits", "--eps", "0.1"], "did you mean capm.convsmall"),
        (["measure", "--model", "digits.maxpool", "--data", "digit", "--eps", "0.1"], "did you mean digits"),
        ([*SMALL, "--eps", "0.1", "--attacks", "pdg"], "attack 'pdg' is unknown; did you mean pdgd or pgd?"),
        ([*SMALL, "--eps", "0.1", "--verifiers", "capn"], "did you mean capm?"),
        ([*SMALL, "--eps", "0.1", "--domain", "half"], "accepted: none, or low,high"),
        ([*SMALL, "--eps", "0.1", "--weights", "gone.safetensors"], "gone.safetensors"),
        (["measure", "--model", "capm.convsmall", "--data", "digits", "--eps", "0.1"], "unit='pixel'"),
        (["show", "--out", "nowhere"], "holds no run store"),
        (["train", "nothing"], "neither a file nor a built-in recipe"),
    ],
)
def test_mistakes_are_explained_without_a_traceback(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = run(*arguments, cwd=tmp_path, expect=2)
    assert message in done.stderr.replace("\n", " ")
    assert done.stdout == ""


def test_a_missing_option_is_explained(tmp_path: Path) -> None:
    assert "--data" in run_apart("measure", "--model", "digits.maxpool", "--eps", "0.1", cwd=tmp_path, expect=2).stderr


def test_ctrl_c_stops_cleanly_and_the_run_can_be_resumed(tmp_path: Path) -> None:
    arguments = [*SMALL, "--samples", "60", "--batch-size", "2", "--eps", "0.02", "0.05", "0.1"]
    command = [sys.executable, "-m", "calipers", *arguments]
    # A shell starts background jobs deaf to Ctrl-C, and their children inherit it: a test run may be one.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    finally:
        signal.signal(signal.SIGINT, handler)
    while not list(tmp_path.glob("calipers-runs/arrays/*/attack-pgd*")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate()
    assert process.returncode == 130, complaint
    assert "--resume" in complaint
    assert "Traceback" not in complaint
    assert "interrupted" in run("runs", cwd=tmp_path).stdout
    partial = run("show", cwd=tmp_path).stdout
    assert "clean" in partial
    run(*arguments, "--resume", cwd=tmp_path)
    listed = run("runs", cwd=tmp_path).stdout
    assert "complete" in listed
    assert "interrupted" not in listed


def test_train_writes_a_card_that_measure_takes(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('model = "digits.maxpool"\ndata = "digits"\nepochs = 1\n')
    done = run("train", "r.toml", "--out", "net.json", cwd=tmp_path)
    assert done.stdout.strip().splitlines()[-1] == "net.json"
    run("measure", "--model", "net.json", "--data", "digits", "--samples", "5", "--eps", "0.01", cwd=tmp_path)


def test_train_takes_changes_of_a_recipe_and_names_what_is_wrong_with_them(tmp_path: Path) -> None:
    change = ["--set", "epochs=1", "samples=100", "optimizer.learning_rate=2e-3"]
    run("train", *change, "digits", "--out", "net.json", cwd=tmp_path)
    recipe = json.loads((tmp_path / "net.json").read_text())["recipe"]
    assert (recipe["epochs"], recipe["samples"], recipe["optimizer"]["learning_rate"]) == (1, 100, 2e-3)
    done = run("train", "digits", "--set", "epoch=1", cwd=tmp_path, expect=2)
    assert "epoch = 1: key 'epoch' is unknown; did you mean epochs?" in done.stderr
    assert "no recipe to change" in run("train", "--set", "epochs=1", cwd=tmp_path, expect=2).stderr


def test_train_measures_what_it_trained_as_measure_does(tmp_path: Path) -> None:
    (tmp_path / "three_digits.py").write_text(
        "from calipers.data.loading import load_dataset\ndef load(split): return load_dataset('digits', split, 3)"
    )
    quick = ["train", "digits.small", "--set", "epochs=2", "data=three_digits:load", "--out", "net.json"]
    done = run(*quick, "--measure", "linf 8/255", "--json", "all.json", cwd=tmp_path)
    assert "train accuracy" in done.stdout
    assert done.stdout.splitlines()[-1].endswith(".html")
    found = json.loads((tmp_path / "all.json").read_text())
    assert {"loss", "test_accuracy", "certified", "empirical"} <= {row["name"] for row in found["rows"]}
    (linf,) = found["measured"]
    assert ([*linf["task"]["epsilons"]], linf["task"]["norm"]) == ([8 / 255], "linf")
    said = shlex.split(linf["command"])
    again = json.loads(run(*said[1:], "--json", "-", cwd=tmp_path).stdout)
    measured = [[row["measured"] for row in one["rows"]] for one in (linf, again)]
    assert measured[0] == measured[1]
    assert linf["task"]["model_digest"] == again["task"]["model_digest"]


@pytest.mark.parametrize(
    ("recipe", "threat", "message"),
    [
        ("digits.small", "linf", "--measure: 'linf' is no threat; accepted: a norm (linf, l2, l1) and one or more"),
        ("digits.small", "l3 0.1", "is no threat"),
        ("digits.small", "linf O.1", "--measure: 'O.1' is not a radius"),
        ("digits.small", "linf 0.1 normalised", "unit: 'normalised' needs a model"),
    ],
)
def test_a_threat_that_is_none_ends_a_training_before_it_begins(recipe, threat, message, tmp_path: Path) -> None:
    done = run("train", recipe, "--measure", threat, cwd=tmp_path, expect=2)
    assert message in done.stderr.replace("\n", " ")
    assert not (tmp_path / "calipers-runs").exists()


def test_train_lists_its_recipes_with_a_line_for_each(tmp_path: Path) -> None:
    for arguments in (["train", "--list"], ["train"]):
        lines = run(*arguments, cwd=tmp_path).stdout.splitlines()
        assert lines[0].split() == ["name", "data", "objective", "description"]
        assert [line.split()[0] for line in lines] == ["name", *built_in_recipes()]


def test_models_lists_the_zoo_with_parameters(tmp_path: Path) -> None:
    text = run("models", cwd=tmp_path).stdout
    assert "capm.convsmall" in text
    assert "89,606" in text


def test_verify_answers_a_property(tmp_path: Path) -> None:
    write_mlp(tmp_path / "net.onnx", 0)
    (tmp_path / "p.vnnlib").write_text(property_text([(-0.1, 0.1), (0.0, 0.1)], 3, "(assert (<= Y_0 -1000.0))"))
    assert run("verify", "net.onnx", "p.vnnlib", cwd=tmp_path).stdout == "unsat\n"
    assert "there is no such file" in run("verify", "net.onnx", "q.vnnlib", cwd=tmp_path, expect=2).stderr
    assert "accepted: a network and a property" in run("verify", "net.onnx", cwd=tmp_path, expect=2).stderr
    (tmp_path / "s.vnnlib").write_text(property_text([(1.0, 0.0), (0.0, 0.1)], 3, "(assert (<= Y_0 0))"))
    done = json.loads(run("verify", "net.onnx", "s.vnnlib", "--json", "-", cwd=tmp_path).stdout)
    assert done.keys() == {"command", "version", "seed", "rows", "warnings"}
    assert [(row["name"], row["outcome"], row["measured"]) for row in done["rows"]] == [
        ("net.onnx s.vnnlib", "unsat", 1.0)
    ]
    assert "the input set is empty" in done["warnings"][0]


def test_verify_scores_a_family_and_tells_contradictions(tmp_path: Path) -> None:
    write_mlp(tmp_path / "net.onnx", 0)
    (tmp_path / "p.vnnlib").write_text(property_text([(-0.1, 0.1), (0.0, 0.1)], 3, "(assert (<= Y_0 -1000.0))"))
    (tmp_path / "right.csv").write_text("net.onnx,p.vnnlib,10\n")
    (tmp_path / "wrong.csv").write_text("onnx,vnnlib,timeout_s,expected\nnet.onnx,p.vnnlib,10,sat\n")
    done = run("verify", "--instances", "right.csv", "--results", "kept", "--json", "-", cwd=tmp_path)
    rows = json.loads(done.stdout)["rows"]
    assert [(row["name"], row["measured"], row["n"]) for row in rows] == [
        ("decided", 1.0, 1),
        ("net.onnx p.vnnlib", 1.0, 1),
    ]
    assert (
        "1 of 1 decided"
        in run("verify", "--instances", "right.csv", "--results", "kept", "--resume", cwd=tmp_path).stdout
    )
    assert "net.onnx p.vnnlib" in run("verify", "--instances", "wrong.csv", cwd=tmp_path, expect=1).stderr


def test_what_is_measured_can_be_checked(tmp_path: Path) -> None:
    run("train", "digits", "--out", "digits.json", cwd=tmp_path)
    trained = ["measure", "--model", "digits.json", "--data", "digits", "--eps", "0.01", "--samples", "4"]
    done = run(*trained, "--attacks", "none", "--verifiers", "capm", "--certify", "--json", "kept.json", cwd=tmp_path)
    assert "certificates in" in done.stdout
    rows = {row["name"]: row for row in json.loads((tmp_path / "kept.json").read_text())["rows"]}
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("calipers-runs/certificates/*/*.npz"))
    assert len(files) == round(rows["certified"]["measured"] * 4) > 0
    assert rows["empirical"]["measured"] is rows["undecided"]["measured"] is None
    assert "not measured" in done.stdout
    checked = run("check", *files, "--model", "digits.json", cwd=tmp_path).stdout
    assert checked.count("accepted") == len(files)
    assert "in the linf ball of radius 0.01 in [0, 1], margins >= " in checked
    page = next(tmp_path.glob("calipers-runs/*.html")).read_text()
    assert f"{len(files)} of {len(files)} proofs are written down" in page
    damaged = tmp_path / files[0]
    damaged.write_bytes(damaged.read_bytes()[:-30])
    assert "rejected" in run("check", files[0], "--model", "digits.json", cwd=tmp_path, expect=1).stdout


def test_an_unsat_property_can_be_checked(tmp_path: Path) -> None:
    write_mlp(tmp_path / "net.onnx", 0)
    either = "(assert (or (and (<= X_0 0.0) (<= Y_0 -50.0)) (and (>= X_0 0.05) (<= Y_1 -50.0))))"
    (tmp_path / "p.vnnlib").write_text(property_text([(-0.1, 0.1), (0.0, 0.1)], 3, either))
    assert run("verify", "net.onnx", "p.vnnlib", "--certificate", "c.npz", cwd=tmp_path).stdout == "unsat\n"
    asked = ["--model", "net.onnx", "--property", "p.vnnlib"]
    assert "proven for 2 of 2 cases" in run("check", "c.npz", "c-1.npz", *asked, cwd=tmp_path).stdout
    assert "proven for 1 of 2 cases" in run("check", "c.npz", *asked, cwd=tmp_path, expect=1).stdout
    assert "--property FILE" in run("check", "c.npz", "--model", "net.onnx", cwd=tmp_path, expect=1).stdout


def test_one_of_several_outputs_is_chosen_by_name_in_every_command(tmp_path: Path) -> None:
    model = onnx.load(write_mlp(tmp_path / "net.onnx", 0, (64, 6, 10)))
    # The other output is the negative: what one gets right the other gets wrong.
    (only,) = model.graph.output
    model.graph.node.append(onnx.helper.make_node("Neg", [only.name], ["negative"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("negative", onnx.TensorProto.FLOAT, [1, 10]))
    onnx.save(model, tmp_path / "net.onnx")
    (tmp_path / "p.vnnlib").write_text(property_text([(0.0, 0.1)] * 64, 10, "(assert (<= Y_0 -1000.0))"))
    (tmp_path / "family.csv").write_text("net.onnx,p.vnnlib,60\n")
    for name in (only.name, "negative"):
        out = run("verify", "net.onnx", "p.vnnlib", "--output", name, "--certificate", "c.npz", cwd=tmp_path).stdout
        assert out == "unsat\n"
        asked = ["--model", "net.onnx", "--output", name, "--property", "p.vnnlib"]
        assert "proven for 1 of 1 cases" in run("check", "c.npz", *asked, cwd=tmp_path).stdout
        assert "1 of 1 decided" in run("verify", "--instances", "family.csv", "--output", name, cwd=tmp_path).stdout
    assert "negative" in run("verify", "--instances", "family.csv", "--output", "no", cwd=tmp_path).stdout
    wrong = run("measure", *SMALL[1:], "--eps", "0.1", "--output", "x", cwd=tmp_path, expect=2).stderr
    assert "is no ONNX file" in wrong
