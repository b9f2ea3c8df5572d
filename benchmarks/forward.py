"""Forward bounds against the walk back, where few inputs are free: time per set, and how low the bounds are.

    python -m benchmarks.forward [--repetitions 5] [--json FILE]

Random weights, so the bounds say how the methods compare and nothing about trained networks. `gap` is the mean, over
sets and rows, of the least of 200 samples minus the lower bound.
"""

import argparse
import itertools
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.output import Row, write
from benchmarks.verification import median_seconds
from calipers.bounds import METHODS, WorkBudget
from calipers.bounds.method import MarginBounds
from calipers.core.problem import Specification
from calipers.core.sets import Box
from calipers.graph.from_torch import from_module
from calipers.graph.graph import Graph
from calipers.models.loading import load_model

COMPARED = ("ibp", "crown", "fused", "forward")


def dense(sizes: tuple[int, ...]) -> nn.Sequential:
    """Linear layers with ReLUs between, with weights that keep the size of what goes through."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for i, o in itertools.pairwise(sizes):
        layer = nn.Linear(i, o)
        nn.init.normal_(layer.weight, std=(2 / i) ** 0.5)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval()


def patch(x: Tensor, size: int, radius: float) -> Box:
    """Only a square of pixels in the middle may change."""
    free = torch.zeros_like(x)
    start = (x.shape[-1] - size) // 2
    free[..., start : start + size, start : start + size] = radius
    return Box(x - free, x + free)


def bounds(method: str, graph: Graph, sets: Box, specification: Specification) -> MarginBounds:
    with torch.no_grad():
        return METHODS[method].margins(graph, sets, specification, WorkBudget())


def lowest(graph: Graph, sets: Box, specification: Specification) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        margins = (specification.margins(graph.evaluate(sets.sample(generator))) for _ in range(200))
        return torch.stack(list(margins)).amin(0)


def compare(name: str, model: nn.Module, sets: Box, repetitions: int) -> list[Row]:
    graph = from_module(model, sets.center.expand(max(2, len(sets)), *sets.center.shape[1:])[:2])
    with torch.no_grad():
        labels = graph.evaluate(sets.center).argmax(1)
    specification = Specification.classified_as(labels, graph.nodes[-1].shape[0])
    reached = lowest(graph, sets, specification)
    rows = []
    for method in COMPARED:
        work = partial(bounds, method, graph, sets, specification)
        seconds = median_seconds(work, repetitions) / len(sets)
        rows.append(Row(f"{name} {method} time", 1e3 * seconds, len(sets), "ms/set"))
        rows.append(Row(f"{name} {method} gap", float((reached - work().lower).mean()), len(sets), "logits"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    few = torch.rand(256, 5, generator=generator)
    rows = []
    for radius in (0.005, 0.02):
        sets = Box(few - radius, few + radius)
        rows += compare(f"5 inputs, 6 x 50, radius {radius:g}", dense((5, *[50] * 6, 5)), sets, arguments.repetitions)
    torch.manual_seed(0)
    model = load_model("capm.convsmall").module
    images = torch.rand(16, 1, 28, 28, generator=generator)
    for size in (1, 3, 28):
        sets = patch(images, size, 0.1 if size < 28 else 0.005)
        rows += compare(f"capm.convsmall, {size} x {size} free", model, sets, arguments.repetitions)
    write("python -m benchmarks.forward", rows, arguments.json)


if __name__ == "__main__":
    main()
