"""What a step of training costs: every objective beside plain cross-entropy, in one interleaved run on one thread.

    python -m benchmarks.training --data-dir DIR [--rounds 11] [--networks thesis.mlp,thesis.lenet5] [--only NAMES]
        [--peers 0] [--json FILE]

Batches of 100 MNIST images, Adam. In every round each objective takes one step, right after one of cross-entropy from
the same optimiser; its cost is the median over rounds of the quotient. Times are of the processor, so that other work
beside it counts little. Beside the cost stand counts of one step (benchmarks/passes.py). A cost above the one wanted is
a warning. --peers N: seconds in which adversarial training of other libraries and ours learn N images once.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.output import Row, write
from benchmarks.passes import Passes, count
from benchmarks.trainers import EPSILON, PEERS, installed
from calipers.cli.memory import keep_freed_memory
from calipers.data.loading import load_dataset
from calipers.evaluate.progress import Tracker, track
from calipers.models.loading import build
from calipers.train import Adversary, Recipe
from calipers.train.objective import DataShape, Objective, Progress, State, fitted

BATCH = 100
AT = Progress(1, 2, 0, 1)
STEPS = 7


@dataclass(frozen=True)
class Case:
    """An objective with its settings. steps: of its adversary, if it has one. limit: of the cost that is wanted."""

    name: str
    objective: str
    settings: dict[str, Any] = field(default_factory=dict)
    steps: int | None = None
    limit: float | None = None

    def recipe(self, network: str) -> Recipe:
        adversary = None if self.steps is None else Adversary(epsilon=EPSILON, steps=self.steps)
        settings = self.settings
        if self.objective == "ensemble":
            settings = {"sources": [network]}
        if self.objective == "distillation":
            settings = {"teacher": network}
        return Recipe(
            model=network, data="mnist", objective=self.objective, settings=settings, adversary=adversary, epochs=2
        )


def _penalised(name: str, **settings: Any) -> Case:
    penalties = [{"name": name, "weight": 0.01, **settings}]
    what = "".join(f", {key} {value}" for key, value in settings.items())
    return Case(f"standard + {name}{what}", "standard", {"penalties": penalties})


CASES = (
    Case("standard", "standard"),
    Case("dropout", "dropout"),
    Case("fgsm", "fgsm", steps=1),
    Case("fast", "fast", steps=1),
    Case("pgd, 1 step", "pgd", steps=1, limit=2.3),
    Case(f"pgd, {STEPS} steps", "pgd", steps=STEPS, limit=STEPS + 1.3),
    Case(f"trades, {STEPS} steps", "trades", steps=STEPS),
    Case("ensemble", "ensemble", steps=1),
    Case("vat", "vat"),
    Case("distillation", "distillation"),
    Case("margin, 10 classes", "margin", limit=8.0),
    Case("margin, 1 rival", "margin", {"rivals": 1}, limit=2.6),
    Case("critic", "critic", {"pretraining": 0}),
    Case("critic, no cycle", "critic", {"pretraining": 0, "cycle": 0.0}),
    _penalised("double-backprop"),
    _penalised("curvature"),
    _penalised("contractive", projections=1),
    _penalised("contractive"),
    _penalised("parseval"),
    _penalised("l1"),
    Case("ibp", "ibp", steps=1),
    Case("sabr, 7 steps", "sabr", steps=STEPS),
    Case("mtl-ibp, 7 steps", "mtl-ibp", steps=STEPS),
    Case("crown-ibp, walks", "crown-ibp", {"last_beta": 1.0}, steps=1),
    Case("crown-ibp, walks of 1 class", "crown-ibp", {"last_beta": 1.0, "classes": 1}, steps=1),
    Case("capm, walks of 1 class", "capm", {"last_beta": 1.0, "classes": 1}, steps=1),
)


class Step:
    """An objective on a network of its own, to be stepped."""

    def __init__(self, case: Case, network: str, shape: DataShape) -> None:
        recipe = case.recipe(network)
        torch.manual_seed(0)
        self.model = build(network)[0].requires_grad_(True)
        self.objective: Objective = fitted(recipe.objective_for(self.model), shape)
        self.state: State = self.objective.init(self.model, lambda parameters: torch.optim.Adam(parameters, 1e-3))

    def take(self, x: Tensor, y: Tensor) -> None:
        self.state, _ = self.objective.step(self.state, x, y, AT)


def seconds_of(work: Callable[[], object]) -> float:
    """Of the processor, in a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measured(network: str, cases: list[Case], batches: list[tuple[Tensor, Tensor]], tracker: Tracker) -> list[Row]:
    """A row for the cost of every case on a network, and those of its counts. The first batch warms up."""
    shape = DataShape(tuple(batches[0][0].shape[1:]), 10)
    plain = Step(Case("standard", "standard"), network, shape)
    steps = [(case, Step(case, network, shape)) for case in cases]
    costs: dict[str, list[float]] = {case.name: [] for case in cases}
    bare: list[float] = []
    for number, (x, y) in enumerate(batches):
        for done, (case, step) in enumerate(steps):
            base, own = seconds_of(partial(plain.take, x, y)), seconds_of(partial(step.take, x, y))
            if number:
                bare.append(base)
                costs[case.name].append(own / base)
            tracker.advance(f"{network}, {case.name}", number * len(cases) + done + 1)
    rows = [Row(f"{network} cross-entropy", statistics.median(bare), len(bare), "s/step")]
    x, y = batches[0]
    for case, step in steps:
        passes = count(step.model, x, partial(step.take, x, y))
        rows += _rows(f"{network} {case.name}", costs[case.name], passes, case.limit)
    return rows


def _rows(label: str, costs: list[float], passes: Passes, limit: float | None) -> list[Row]:
    middle = statistics.median(costs)
    return [
        Row(label, middle, len(costs), "cross-entropy steps", limit, min(costs), max(costs)),
        Row(f"{label}: forward passes", passes.forwards, 1, "passes"),
        Row(f"{label}: backward passes", passes.backwards, 1, "passes"),
        Row(f"{label}: gradients of weights", passes.weight_gradients, 1, "passes"),
        Row(f"{label}: work", passes.work, 1, "forward passes"),
    ]


def too_dear(rows: list[Row]) -> tuple[str, ...]:
    """What the costs that exceed those wanted are."""
    return tuple(
        f"{row.name}: {row.measured:.2f} {row.unit}, wanted: at most {row.paper:g}"
        for row in rows
        if row.paper is not None and row.measured is not None and row.measured > row.paper
    )


def beside_peers(network: str, x: Tensor, y: Tensor) -> tuple[list[Row], tuple[str, ...]]:
    """Seconds for an epoch of PGD training, ours and those of libraries that are installed."""
    case = Case("pgd", "pgd", steps=STEPS)
    ours = Step(case, network, DataShape(tuple(x.shape[1:]), 10))

    def epoch() -> None:
        for one, labels in zip(x.split(BATCH), y.split(BATCH), strict=True):
            ours.take(one, labels)

    label = f"{network} pgd, {STEPS} steps, an epoch of {len(x)} images"
    rows = [Row(f"{label}: calipers", seconds_of(epoch), 1, "s")]
    missing = tuple(f"{name}: not installed" for name in PEERS if installed(name) is None)
    for name, peer in PEERS.items():
        if installed(name) is not None:
            model = build(network)[0].requires_grad_(True)
            theirs = peer(model, x, y, BATCH, STEPS)
            rows.append(Row(f"{label}: {name} {installed(name)}", seconds_of(theirs), 1, "s"))
    return rows, missing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--networks", default="thesis.mlp,thesis.lenet5")
    parser.add_argument("--only", help="names of objectives, separated by commas")
    parser.add_argument("--peers", type=int, default=0)
    parser.add_argument("--json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    only = None if given.only is None else given.only.split(",")
    cases = [case for case in CASES if only is None or case.objective in only]
    images = load_dataset("mnist", "train", BATCH * (given.rounds + 1), given.data_dir)
    x, y = images.batch(range(len(images)))
    batches = list(zip(x.split(BATCH), y.split(BATCH), strict=True))
    rows: list[Row] = []
    notes: tuple[str, ...] = ()
    for network in given.networks.split(","):
        with track(len(batches) * len(cases)) as tracker:
            rows += measured(network, cases, batches, tracker)
        if given.peers:
            many = load_dataset("mnist", "train", given.peers, given.data_dir)
            found, missing = beside_peers(network, *many.batch(range(len(many))))
            rows, notes = rows + found, tuple(dict.fromkeys((*notes, *missing)))
    write("benchmarks.training", rows, given.json, 0, (*too_dear(rows), *notes))


if __name__ == "__main__":
    main()
