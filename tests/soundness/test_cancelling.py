"""Nothing false is proven of networks whose values cancel, whatever the arithmetic they are evaluated in."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from calipers.core.errors import ModelError
from calipers.graph.from_onnx import OnnxNetwork, load_onnx_network
from calipers.graph.from_torch import from_module
from tests.soundness import cancelling
from tests.soundness.claims import Question, Tally, ask
from tests.soundness.methods import bounds_claims, search_claims
from tests.soundness.replays import Deployed
from tests.soundness.to_onnx import write_onnx

# With 64 sets of 4 rows each: more than 10^6 trials over all kinds.
NETWORKS = 252
PARTS = 4
# What the short form tries where it does not try all.
SLOW = ("clip_never_reached", "residual_cancels")
SEARCHED = ("large_weights", "clip_never_reached", "residual_cancels")


def read(kind: str, seed: int, folder: Path) -> tuple[OnnxNetwork, Deployed] | None:
    """A network by way of a file; None where the file is refused, which is not this test's business."""
    module, shape = cancelling.network(kind, seed)
    try:
        network = load_onnx_network(write_onnx(module, shape, folder / "net.onnx"))
    except ModelError:
        return None
    return network, Deployed(module, shape, network.run)


def few(asked: Question, count: int, seed: int) -> list[tuple[int, int]]:
    """Sets with a row that are false, and one that may be true."""
    generator = torch.Generator().manual_seed(seed)
    false, other = asked.broken.nonzero(), (~asked.broken).nonzero()
    drawn = [p[torch.randperm(len(p), generator=generator)[:n]].tolist() for p, n in ((false, count), (other, 1))]
    return [(image, row) for image, row in drawn[0] + drawn[1]]


def search(
    tally: Tally, network: OnnxNetwork, asked: Question, count: int, seed: int, folder: Path, seconds: float
) -> None:
    """Ask the searches one by one."""
    for image, row in few(asked, count, seed):
        tally.judge(asked, search_claims(network, asked, image, row, folder, seconds), f"seed {seed}")


def bounded(kind: str, seed: int, sets_seed: int, folder: Path, slow: bool) -> Tally:
    """What all bounds claim of one network over a few sets."""
    tally, found = Tally(), read(kind, seed, folder)
    if found is not None:
        network, deployed = found
        asked = ask(deployed, cancelling.sets(deployed.shape, sets_seed, 24), seed)
        tally.question(asked)
        said = bounds_claims(network.graph, asked.sets, asked.specification, slow)
        tally.judge(asked, said, f"{kind} {seed}")
    return tally


@pytest.mark.parametrize("kind", cancelling.KINDS)
def test_no_bound_proves_what_is_false(kind: str, tmp_path: Path, sound: Callable[[Tally], None]) -> None:
    sound(bounded(kind, 2, 2, tmp_path, slow=kind in SLOW))


@pytest.mark.parametrize("sets_seed", [3, 7, 11], ids=["l2", "l1", "linf"])
def test_no_bound_proves_what_is_false_in_a_ball(
    sets_seed: int, tmp_path: Path, sound: Callable[[Tally], None]
) -> None:
    sound(bounded("joined_branches", 1, sets_seed, tmp_path, slow=False))


@pytest.mark.parametrize("kind", SEARCHED)
def test_no_search_proves_what_is_false(kind: str, tmp_path: Path, sound: Callable[[Tally], None]) -> None:
    tally = Tally()
    found = read(kind, 4, tmp_path)
    if found is not None:
        network, deployed = found
        asked = ask(deployed, cancelling.sets(deployed.shape, 4, 24), 4)
        tally.question(asked)
        search(tally, network, asked, 1, 4, tmp_path, 0.05)
    sound(tally)


@pytest.mark.parametrize("kind", ["clip_never_reached", "tiny_variance"])
def test_no_bound_proves_what_is_false_of_a_module(kind: str, sound: Callable[[Tally], None]) -> None:
    sound(of_modules(kind, [1]))


def of_modules(kind: str, seeds: list[int]) -> Tally:
    """The same by way of torch.export, which converts layers in another way."""
    tally = Tally()
    for seed in seeds:
        module, shape = cancelling.network(kind, seed)
        try:
            graph = from_module(module, torch.rand(2, *shape))
        except ModelError:
            continue
        asked = ask(Deployed(module, shape), cancelling.sets(shape, seed, 24), seed)
        tally.question(asked)
        said = bounds_claims(graph, asked.sets, asked.specification, slow=False)
        tally.judge(asked, said, f"module {kind} {seed}")
    return tally


@pytest.mark.parametrize("kind", cancelling.KINDS)
def test_no_exact_network_is_refused(kind: str, tmp_path: Path) -> None:
    """What single precision makes of sums that cancel is no sign that the graph is another network."""
    for seed in range(8):
        module, shape = cancelling.network(kind, seed)
        load_onnx_network(write_onnx(module, shape, tmp_path / "net.onnx"))


@pytest.mark.full
@pytest.mark.timeout(14400)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("kind", cancelling.KINDS)
def test_nothing_false_is_proven_in_full(kind: str, part: int, tmp_path: Path, sound: Callable[[Tally], None]) -> None:
    tally = Tally()
    for seed in range(part, NETWORKS, PARTS):
        found = read(kind, seed, tmp_path)
        if found is not None:
            network, deployed = found
            asked = ask(deployed, cancelling.sets(deployed.shape, seed // PARTS, 64), seed)
            tally.question(asked)
            tally.judge(asked, bounds_claims(network.graph, asked.sets, asked.specification), f"{kind} {seed}")
            if seed // PARTS % 7 == 0:
                search(tally, network, asked, 2, seed, tmp_path, 0.2)
    sound(tally)


@pytest.mark.full
@pytest.mark.timeout(14400)
@pytest.mark.parametrize("kind", cancelling.KINDS)
def test_nothing_false_is_proven_of_modules_in_full(kind: str, sound: Callable[[Tally], None]) -> None:
    sound(of_modules(kind, list(range(8))))
