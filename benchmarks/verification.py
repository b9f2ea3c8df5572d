"""The lower jaw: how many images each bound verifies, how fast, and how cost grows.

    python -m benchmarks.verification --weights DIR --data-dir DIR [--samples 100] [--json FILE]

DIR of --weights holds the networks that the authors of CAPM publish, as safetensors. Every row of a table is measured
in this one run. Where auto_LiRPA can be imported, its CROWN runs beside on the networks that it accepts (pool stride
equal to the kernel). Times are medians over repetitions, per image, and stand beside the bare forward and backward
pass of the network.
"""

import argparse
import gc
import resource
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.output import Row, write
from calipers.attacks import PGD, run_attack
from calipers.bounds import METHODS, WorkBudget
from calipers.cli.memory import keep_freed_memory
from calipers.core.problem import Problem, Specification
from calipers.core.sets import InputSet
from calipers.core.threat import ThreatModel
from calipers.data.loading import load_dataset
from calipers.evaluate.robustness.metrics import rate
from calipers.graph.from_torch import from_module
from calipers.graph.graph import Graph
from calipers.models.loading import LoadedModel, load_model
from calipers.models.zoo.classifier import Classifier

# Table 2 of the paper, and PRIMA's column beside it.
PUBLISHED = [
    ("convSmall_normal", 0.03, 65, 79),
    ("convSmall_fgsm", 0.03, 85, 92),
    ("convSmall_pgd", 0.03, 97, 97),
    ("convSmall_pgd", 0.04, 84, 85),
    ("convMed_normal", 0.01, 93, 96),
    ("convMed_fgsm", 0.03, 88, 96),
    ("convMed_pgd", 0.03, 96, 97),
    ("convMed_pgd", 0.04, 89, 93),
]
COMPARED = ("ibp", "deepz", "capm", "crown", "maxlin", "combined", "optimised")
LARGE = [("capm.convbig", (1, 28, 28)), ("capm.convbig_cifar10", (3, 32, 32))]


def median_seconds(work: Callable[[], object], repetitions: int) -> float:
    times = []
    for _ in range(repetitions):
        gc.collect()
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def bounds_of(method: str, graph: Graph, sets: InputSet, specification: Specification) -> int:
    """How many instances a bound verifies."""
    with torch.no_grad():
        found = METHODS[method].margins(graph, sets, specification, WorkBudget())
    return int(found.proven.sum())


class Case:
    """One network at one radius, over the images that it classifies correctly."""

    def __init__(self, name: str, epsilon: float, model: LoadedModel, x: Tensor, y: Tensor) -> None:
        self.name, self.epsilon, self.model, self.x = name, epsilon, model, x
        self.sets = ThreatModel("linf", epsilon, None, "normalised").for_model(model.std).around(x)
        self.specification = Specification.classified_as(y, 10)
        self.graph = from_module(model.module, x[:2])

    def proven(self, method: str) -> int:
        return bounds_of(method, self.graph, self.sets, self.specification)

    def survivors(self) -> int:
        problem = Problem(self.model.digest, tuple(range(len(self.x))), self.sets, self.specification)
        return int((~run_attack(PGD(), self.model.module, problem, 0).success).sum())

    def row(self, what: str, hits: int, seconds: float | None, paper: float | None = None) -> Row:
        share = rate(what, None, hits, len(self.x), guarantee=what != "pgd")
        return Row(
            f"{self.name} {self.epsilon:g} {what}|correct",
            share.measured,
            len(self.x),
            "fraction",
            paper,
            share.low,
            share.high,
            None if seconds is None else seconds / len(self.x),
            self.epsilon,
            "linf",
            "normalised",
        )


def both_passes(model: nn.Module, x: Tensor) -> None:
    x = x.clone().requires_grad_(True)
    torch.autograd.grad(model(x).logsumexp(1).sum(), x)


def crown_of_auto_lirpa(case: Case) -> int:
    """Stock CROWN, one image at a time, as its own examples run it; it takes normalised inputs."""
    auto_lirpa = import_module("auto_LiRPA")

    module = case.model.module
    assert isinstance(module, Classifier)
    x = module.normalise(case.x)
    bounded = auto_lirpa.BoundedModule(module.main, x[:1], bound_opts={"conv_mode": "patches"}, device="cpu")
    proven = 0
    for i in range(len(x)):
        point = auto_lirpa.BoundedTensor(
            x[i : i + 1], auto_lirpa.PerturbationLpNorm(norm=float("inf"), eps=case.epsilon)
        )
        rows = case.specification.C[i : i + 1]
        with torch.no_grad():
            lower, _ = bounded.compute_bounds(x=(point,), C=rows, method="CROWN", bound_upper=False)
        proven += bool((lower > 0).all())
    return proven


def published_networks(weights: Path, data_dir: Path, samples: int, repetitions: int) -> tuple[list[Row], list[str]]:
    rows: list[Row] = []
    notes: list[str] = []
    images, labels = load_dataset("mnist", limit=samples, data_dir=data_dir).batch(range(samples))
    for name, epsilon, capm, prima in PUBLISHED:
        model = load_model(f"capm.{name.split('_')[0].lower()}", weights / f"{name}_mnist.safetensors")
        keep = model.module(images).argmax(1) == labels
        case = Case(name, epsilon, model, images[keep], labels[keep])
        rows.append(case.row("pgd", case.survivors(), None))
        bare = median_seconds(partial(both_passes, case.model.module, case.x), 5)
        for method in COMPARED:
            seconds = median_seconds(partial(case.proven, method), repetitions)
            paper = {"capm": capm / 100, "combined": prima / 100}.get(method)
            rows.append(case.row(method, case.proven(method), seconds, paper))
            rows.append(Row(f"{name} {epsilon:g} {method} / bare passes", seconds / bare, len(case.x), "ratio"))
            print(f"{rows[-2].name}: {rows[-2].measured:.1%}, {seconds / len(case.x):.4f} s/image", file=sys.stderr)
        if name.startswith("convMed"):
            try:
                start = time.perf_counter()
                hits = crown_of_auto_lirpa(case)
                rows.append(case.row("auto_LiRPA CROWN", hits, time.perf_counter() - start))
            except ImportError as error:
                notes.append(f"auto_LiRPA did not run beside: {error}")
    return rows, notes


def large_networks(repetitions: int) -> list[Row]:
    """Seconds per image on the largest networks, with random weights: the cost does not depend on them much."""
    rows = []
    for name, shape in LARGE:
        model = load_model(name)
        x = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
        sets = ThreatModel("linf", 0.002, None, "normalised").for_model(model.std).around(x)
        specification = Specification.classified_as(model.module(x).argmax(1), 10)
        graph = from_module(model.module, x.expand(2, *shape))
        for method in ("capm", "fused"):
            seconds = median_seconds(partial(bounds_of, method, graph, sets, specification), repetitions)
            rows.append(Row(f"{name} {method}", seconds, 1, "s/image"))
    return rows


def growth(repetitions: int) -> list[Row]:
    """CAPM's time against epsilon, and against width W: the paper states O(W^2 N K), that is W^3 for this family."""
    rows = []
    x = torch.rand(8, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    for width in (8, 16, 32, 64):
        torch.manual_seed(0)
        net = nn.Sequential(
            *(nn.Conv2d(1, width, 3), nn.ReLU(), nn.MaxPool2d(2, 1), nn.Conv2d(width, width, 3, 2), nn.ReLU()),
            *(nn.MaxPool2d(2, 1), nn.Flatten(), nn.Linear(width * 49, 10)),
        ).eval()
        graph, y = from_module(net, x[:2]), net(x).argmax(1)
        for epsilon in (0.001, 0.01, 0.1) if width == 16 else (0.01,):
            sets = ThreatModel("linf", epsilon, None).for_model(None).around(x)
            specification = Specification.classified_as(y, 10)
            seconds = median_seconds(partial(bounds_of, "capm", graph, sets, specification), repetitions)
            rows.append(Row(f"capm width {width} epsilon {epsilon:g}", seconds / len(x), len(x), "s/image"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    keep_freed_memory()  # as the program does
    rows = growth(arguments.repetitions) + large_networks(1)
    found, notes = published_networks(arguments.weights, arguments.data_dir, arguments.samples, arguments.repetitions)
    rows += found
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    rows.append(Row("peak memory of the process", peak, 1, "GiB"))
    write("python -m benchmarks.verification", rows, arguments.json, warnings=tuple(sorted(set(notes))))


if __name__ == "__main__":
    main()
