"""Nothing is proven of networks that are wrong at a point which attacks do not find."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from calipers.attacks import PGD, run_attack
from calipers.core.problem import Problem, Specification
from calipers.graph.from_onnx import load_onnx_network
from tests.soundness.claims import Tally
from tests.soundness.methods import bounds_claims, search_claims
from tests.soundness.planted import KINDS, Planted, planted, question
from tests.soundness.replays import Deployed
from tests.soundness.to_onnx import write_onnx

# Of every kind: 204 in all.
NETWORKS = 34
# Sets and rows that are searched: the ball with the network's own margin, boxes with margins of rounding's size.
PLACES = ((0, 0), (1, 1), (2, 1), (2, 2))
# What the short form searches, too.
SEARCHED = ("maxpool", "tanh")


def whole(made: Planted) -> Problem:
    """Class 0 on the whole ball."""
    C, d = torch.tensor([[[1.0, -1.0]]]), torch.zeros(1, 1)
    return Problem("net", (0,), made.box, Specification(C, d))


def try_everything(kind: str, seed: int, folder: Path, seconds: float, searched: int) -> Tally:
    """Bounds on the ball and on boxes around the point; searches of the first `searched` places."""
    tally, made = Tally(), planted(kind, seed)
    shape = tuple(made.point.shape[1:])
    network = load_onnx_network(write_onnx(made.module, shape, folder / "net.onnx"))
    asked = question(made, Deployed(made.module, shape, network.run), seed)
    tally.question(asked)
    said = bounds_claims(network.graph, asked.sets, asked.specification, slow=searched > 1)
    tally.judge(asked, said, f"planted {kind} {seed}")
    for image, row in PLACES[:searched]:
        said = search_claims(network, asked, image, row, folder, seconds)
        tally.judge(asked, said, f"planted {kind} {seed}")
    return tally


def test_planted_points_are_wrong_and_attacks_miss_them() -> None:
    missed = 0
    for kind in KINDS:
        made = planted(kind, 0)
        assert made.box.contains(made.point).all()
        assert made.depth > 0
        missed += not bool(run_attack(PGD(steps=10, restarts=2), made.module, whole(made), 0).success)
    assert missed >= len(KINDS) - 1


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_proven_around_a_planted_point(kind: str, tmp_path: Path, sound: Callable[[Tally], None]) -> None:
    sound(try_everything(kind, 0, tmp_path, 0.05, 1 if kind in SEARCHED else 0))


@pytest.mark.full
@pytest.mark.timeout(14400)
@pytest.mark.parametrize("part", range(2))
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_proven_around_planted_points_in_full(
    kind: str, part: int, tmp_path: Path, sound: Callable[[Tally], None]
) -> None:
    found, total, claims = 0, 0, 0
    for seed in range(part, NETWORKS, 2):
        tally = try_everything(kind, seed, tmp_path, 0.3, len(PLACES))
        sound(tally)
        claims += tally.claims.total()
        made = planted(kind, seed)
        found += bool(run_attack(PGD(steps=40, restarts=5), made.module, whole(made), seed).success)
        total += 1
    assert claims, "what holds by a few ulps is not proven either: methods that claim nothing are not tried"
    assert found <= total / 2, f"PGD finds {found} of {total} planted points: they prove little"
