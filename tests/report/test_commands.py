import ast
import itertools
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from torch import nn

import calipers
from calipers.api import attack, measure
from calipers.attacks import PGD, FeatureAdversary
from calipers.bounds.propagation.linear import LinearBounds
from calipers.bounds.relaxations.capm import relax_maxpool
from calipers.cli.main import app, expand_lists
from calipers.core.resources import DEFAULTS
from calipers.core.threat import ThreatModel
from calipers.report.call import Name, call_of, expression
from calipers.report.commands import check_command, is_call, script, shell_words
from calipers.verify import BoundVerifier

from .examples import make_task

MODEL, DATA = object(), object()


def relax_mine() -> None:
    """A function of the user's own."""


def recorded(function: Any, arguments: dict[str, Any], **names: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a written call passes when its program runs with the given names."""
    text = call_of(function, arguments, DEFAULTS)
    assert is_call(text)
    tree = ast.parse(script(text))
    last = tree.body[-1]
    assert isinstance(last, ast.Assign)
    assert isinstance(last.value, ast.Call)
    assert eval(ast.unparse(last.value.func), {"calipers": calipers}) is function
    last.value.func = ast.Name("seen", ast.Load())
    space = {"seen": lambda *given, **named: (given, named), "model": MODEL, "data": DATA, **names}
    exec(compile(ast.fix_missing_locations(tree), "page", "exec"), space)
    passed: tuple[tuple[Any, ...], dict[str, Any]] = space["report"]
    return passed


@pytest.mark.parametrize(
    ("norm", "domain", "unit", "epsilons", "out"),
    [
        ("linf", (0.0, 1.0), None, None, "calipers-runs"),
        ("l2", None, "normalised", [0.1, 8 / 255], Path("my runs/a'b")),
        ("l1", (-1.0, 1.0), "pixel", (1e-7,), "x"),
    ],
)
def test_a_written_call_passes_the_same_again(norm: str, domain: Any, unit: Any, epsilons: Any, out: Any) -> None:
    threat = ThreatModel(norm, 0.03, domain, unit)
    given = {"model": Name("model"), "dataset": Name("data"), "threat": threat, "epsilons": epsilons, "samples": 12}
    given |= {"attacks": ["pgd", PGD(steps=7)], "verifiers": (), "timeout": float("inf"), "out": out, "certify": True}
    positional, named = recorded(measure, given)
    assert positional == (MODEL, DATA, threat)
    assert named.pop("out", "calipers-runs") == str(out)
    assert named.pop("epsilons", None) == epsilons
    assert named == {
        "samples": 12, "attacks": ["pgd", PGD(steps=7)], "verifiers": (), "timeout": float("inf"), "certify": True,
    }  # fmt: skip


def test_defaults_are_left_out() -> None:
    given = {"model": Name("model"), "dataset": Name("data"), "distance": "l2", "propagations": 1000, "seed": 0}
    assert call_of(attack, given, DEFAULTS) == "calipers.attack(model, data, 'l2')"


def test_what_has_no_expression_is_a_name() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    feature = FeatureAdversary(layer="0", guides=torch.zeros(1, 4))
    mine = BoundVerifier(LinearBounds("mine", relax_mine, relax_maxpool))  # type: ignore[arg-type]
    given = {"model": Name("model"), "dataset": Name("data"), "threat": ThreatModel("linf", 0.1)}
    names = {"tensor": feature.guides, "relax_mine": relax_mine}
    _, named = recorded(measure, {**given, "attacks": [feature], "verifiers": [mine]}, **names)
    assert named["verifiers"] == [mine]
    assert named["attacks"][0].guides is feature.guides
    assert expression(net) == "sequential"
    assert expression(lambda x: x).isidentifier()


@pytest.mark.parametrize("value", [None, True, 3, 0.1, -0.0, "a'b\"c\n", [1, (2,)], {"a": [0.5]}, Path("a b")])
def test_values_survive(value: Any) -> None:
    found = eval(expression(value))
    assert found == (str(value) if isinstance(value, Path) else value)
    assert repr(found) == repr(str(value) if isinstance(value, Path) else value)


@pytest.mark.parametrize(
    "words",
    [
        ["--model", "my nets/it's.json", "--data", "digits", "--eps", "0.01", "8/255", "--norm", "l2"],
        [
            "--model",
            "a  b.onnx",
            "--data",
            "x:y",
            "--eps=0.1",
            "--domain",
            "none",
            "--attacks",
            "pgd,fgsm",
            "--certify",
        ],
    ],
)
def test_a_shell_command_on_the_page_gives_the_same_arguments(words: list[str]) -> None:
    command = shlex.join(["calipers", "measure", *words])
    assert not is_call(command)
    shown = shlex.split(" ".join(shell_words(command)))
    assert shown == ["calipers", "measure", *words]
    assert parsed(shown[1:])["model"] == next(itertools.islice((w for w in words if not w.startswith("--")), 1))


def test_the_check_command_names_the_model_of_the_run() -> None:
    task = make_task((0.03,), 10)
    command = shlex.join(["calipers", "measure", "--model", "my nets/a.json", "--weights=w.pt", "--data", "digits"])
    words = shlex.split(check_command(command, task, Path("runs/my certificates")))
    assert words[:2] == ["calipers", "check"]
    given = parsed(words[1:])
    assert (given["model"], given["weights"]) == ("my nets/a.json", Path("w.pt"))
    assert given["files"] == [Path("runs/my certificates/*.npz")]
    call = "calipers.measure(model, data, calipers.ThreatModel(norm='linf', epsilon=0.1))"
    saved = replace(task, model="nets/b.onnx")
    assert parsed(shlex.split(check_command(call, saved, Path("c")))[1:])["model"] == "nets/b.onnx"
    assert parsed(shlex.split(check_command(call, task, Path("c")))[1:])["model"] == "MODEL"


def parsed(words: list[str]) -> dict[str, Any]:
    """What the command line makes of the words, without running anything."""
    group = typer.main.get_command(app)
    name, *rest = expand_lists(words)
    command = group.get_command(None, name)  # type: ignore[attr-defined]
    return dict(command.make_context(name, rest).params)


@pytest.mark.parametrize("command", ["calipers measure", "calipers.measure(", "calipers.measure", "", "'", "a(b)"])
def test_only_a_call_of_calipers_is_a_call(command: str) -> None:
    assert not is_call(command)
    shown = " ".join(shell_words(command))
    assert shown == command or shlex.split(shown) == shlex.split(command)
