"""Branch and bound on hard images: how splits are chosen, and what tighter bounds of inner neurons bring.

    python -m benchmarks.splitting --weights DIR --data-dir DIR [--images 40 65 89 95] [--timeout 60] [--json FILE]

DIR of --weights holds the networks that the authors of CAPM publish, as safetensors. The network is convSmall normal,
at 0.03 in pixel units. `gap` splits where a bound is loosest; `pseudo-costs` where splits have raised bounds;
`proportional` takes the raise to grow with the gap and not with its root; `tightened` is what `complete` does.
Subdomains include trials. Then the lowest bound of a row before any split, without tightening (0 steps) and with, by
steps and rate of the ascent. The last rows compare a subdomain with a bare pass.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.output import Row, write
from benchmarks.verification import median_seconds
from calipers.bounds import PAIRED, WorkBudget
from calipers.core.problem import Problem, Specification
from calipers.core.threat import ThreatModel
from calipers.data.loading import load_dataset
from calipers.graph.from_torch import from_module
from calipers.graph.graph import Graph
from calipers.models.loading import load_model
from calipers.verify.branching.beta_crown import Search
from calipers.verify.branching.dual import ascend
from calipers.verify.branching.pseudo_costs import PseudoCosts
from calipers.verify.branching.result import SearchResult
from calipers.verify.branching.split_search import SplitSearch
from calipers.verify.branching.subdomains import Root, Subdomains
from calipers.verify.branching.tighten import Tightening


class Unlearning(PseudoCosts):
    """Knows nothing but gaps."""

    def learn(self, side: Tensor, place: Tensor, gap: Tensor, gain: Tensor) -> None:
        """Forget it."""


class Proportional(PseudoCosts):
    """The raise of a split is proportional to its gap."""

    def learn(self, side: Tensor, place: Tensor, gap: Tensor, gain: Tensor) -> None:
        super().learn(side, place, gap.square(), gain)

    def gains(self, place: Tensor, gap: Tensor) -> Tensor:
        return super().gains(place, gap.square())

    def promise(self, gap: Tensor) -> Tensor:
        return super().promise(torch.where(gap > 0, gap.square(), gap))


def plain(
    search: Search, costs: type[PseudoCosts], graph: Graph, problem: Problem, rows: list[int], budget: WorkBudget
) -> SearchResult:
    """One search, without tightening."""
    root = Root.of(PAIRED.propagate(graph, problem.input_set, budget), problem.input_set, problem.specification)
    return search.run(root, rows, budget, costs=costs(root.places, root.device))


VARIANTS: dict[str, Callable[[Graph, Problem, list[int], WorkBudget], SearchResult]] = {
    "gap": partial(plain, Search(choices=1), Unlearning),
    "pseudo-costs": partial(plain, Search(), PseudoCosts),
    "proportional": partial(plain, Search(), Proportional),
    "tightened": SplitSearch().run,
}
ASCENTS = ((0, 0.0), (5, 0.2), (20, 0.2), (5, 1.0))


def searched(name: str, graph: Graph, problem: Problem, timeout: float) -> tuple[Row, Row]:
    start = time.perf_counter()
    with torch.no_grad():
        rows = list(range(problem.specification.d.shape[1]))
        found = VARIANTS[name](graph, problem, rows, WorkBudget(deadline=time.monotonic() + timeout))
    seconds = time.perf_counter() - start
    title = f"image {problem.sample_id[0]} {name} {'proven' if found.proven else 'open'}"
    return Row(title, found.subdomains, 1, "subdomains"), Row(title, seconds, 1, "s")


def lowest_bound(graph: Graph, problem: Problem, steps: int, rate: float) -> tuple[Row, Row]:
    budget, start = WorkBudget(), time.perf_counter()
    with torch.no_grad():
        propagation = PAIRED.propagate(graph, problem.input_set, budget)
        root = Root.of(propagation, problem.input_set, problem.specification)
        if steps:
            propagation = Tightening(steps, rate).run(PAIRED, root, budget)
            root = Root.of(propagation, problem.input_set, problem.specification)
        rows = torch.arange(problem.specification.d.shape[1])
        everything = Subdomains.of(root, torch.zeros_like(rows), rows, [()] * len(rows))
        lower = ascend(everything, everything.start(), Search().root_steps, Search().rate, WorkBudget()).walk.lower
    title = f"image {problem.sample_id[0]} root, {steps} steps at {rate:g}"
    return Row(title, float(lower.min()), 1, "logits"), Row(title, time.perf_counter() - start, 1, "s")


def bare_pass(model: nn.Module, x: Tensor) -> float:
    """Seconds of a forward and a backward pass for one of a batch."""
    batch = x.repeat(256 // len(x), 1, 1, 1).requires_grad_(True)

    def work() -> None:
        torch.autograd.grad(model(batch).max(1).values.sum(), batch)

    work()
    return median_seconds(work, 5) / len(batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--images", type=int, nargs="+", default=[40, 65, 89, 95])
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    model = load_model("capm.convsmall", arguments.weights / "convSmall_normal_mnist.safetensors")
    x, y = load_dataset("mnist", data_dir=arguments.data_dir).batch(arguments.images)
    graph = from_module(model.module, x[:1].expand(2, *x.shape[1:]))
    sets = ThreatModel("linf", 0.03, (0.0, 1.0), "pixel").for_model(model.std).around(x)
    problem = Problem("", tuple(arguments.images), sets, Specification.classified_as(y, 10))
    rows: list[Row] = []
    for i in range(len(problem)):
        for name in VARIANTS:
            rows += searched(name, graph, problem[i : i + 1], arguments.timeout)
    counts, times = rows[-2], rows[-1]
    for i in range(len(problem)):
        for steps, rate in ASCENTS:
            rows += lowest_bound(graph, problem[i : i + 1], steps, rate)
    assert times.measured is not None
    assert counts.measured is not None
    each, bare = times.measured / counts.measured, bare_pass(model.module.eval(), x)
    rows.append(Row("a subdomain", 1e3 * each, int(counts.measured), "ms"))
    rows.append(Row("forward and backward pass", 1e3 * bare, 256, "ms"))
    rows.append(Row("ratio", each / bare, 1, "passes"))
    write("python -m benchmarks.splitting", rows, arguments.json)


if __name__ == "__main__":
    main()
