"""Repair: solvers of the published programme side by side, and what our own repair costs and reaches.

    python -m benchmarks.repair --data-dir DIR [--balls 100] [--peers 1] [--models DIR] [--json FILE]
        [--only lp] [--only drawdown] [--only balls]

lp rows: equation 3 of paper 000 for 100 adversaries of a linear hybrid of CIFAR10-NN, whose 4,096 features are all
free: seconds of the processor for all ten classes by column generation, and for the first --peers classes by generic
solvers (CVXOPT gets the dual); "apart" is by how much their optimum differs, relatively. The network learns 3,000
images for two epochs here.
The other rows are about a linear hybrid of MNIST-NN, trained here on 20,000 images for two epochs, and FGSM of radius
0.1: 100 adversaries of the test set are repaired, the others are held out. Ball rows: balls of radius 0.002 around
these, proven by `complete`, each with a certificate that the checker accepts.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from benchmarks.output import Row, write
from calipers.bounds import WorkBudget
from calipers.core.digests import digest_module
from calipers.core.problem import Problem, Specification
from calipers.core.results import Verdict
from calipers.core.threat import ThreatModel
from calipers.core.tracker import Silent
from calipers.evaluate.progress import track
from calipers.evaluate.reproduce import QUICK, Laboratory
from calipers.evaluate.reproduce.hybrid_bench import HybridBench, Sizes
from calipers.evaluate.reproduce.hybrid_repair import Repairer
from calipers.evaluate.reproduce.laboratory import trained
from calipers.evaluate.reproduce.relative_experiment import Bench
from calipers.evaluate.reproduce.repair import recipe_of
from calipers.graph.from_torch import graph_of
from calipers.models.loading import LoadedModel
from calipers.repairs.change import Repaired, repaired
from calipers.repairs.failing import Samples
from calipers.repairs.paper import by_columns
from calipers.repairs.patch import delta_of, patched
from calipers.repairs.settings import Guarantee, RepairSettings
from calipers.store.store import Store
from calipers.verify import Certifier, Complete, run_verifier

SAMPLES, EPSILON, RADIUS = 100, 0.1, 0.002
PARTS = ("lp", "drawdown", "balls")
Solve = Callable[[np.ndarray, np.ndarray], float]


def by_clarabel(features: np.ndarray, lacking: np.ndarray) -> float:
    """One class as the paper writes it, by Clarabel through CVXPY: the optimum."""
    import cvxpy

    change, delta = cvxpy.Variable(features.shape[1]), cvxpy.Variable(len(lacking))
    fits = [features @ change - lacking <= delta, lacking - features @ change <= delta]
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.norm1(change) + cvxpy.sum(delta)), fits)
    problem.solve(solver="CLARABEL")
    if problem.status != "optimal":
        raise RuntimeError(f"Clarabel ended with {problem.status}")
    return float(problem.value)


def by_cvxopt(features: np.ndarray, lacking: np.ndarray) -> float:
    """One class as its dual, max lacking . u with |u| <= 1 and |features' u| <= 1, by CVXOPT: the optimum.

    The dual has one variable a sample; as the paper writes it, CVXOPT factorises 4,096 dense columns in every step.
    """
    from cvxopt import matrix, solvers

    whole = np.vstack([features.T, -features.T, np.eye(len(lacking)), -np.eye(len(lacking))])
    precise = {"show_progress": False, "abstol": 1e-10, "reltol": 1e-10, "feastol": 1e-10}
    found = solvers.lp(matrix(-lacking), matrix(whole), matrix(np.ones(len(whole))), options=precise)
    if found["status"] != "optimal":
        raise RuntimeError(f"CVXOPT ended with {found['status']}")
    return -float(found["primal objective"])


# By row: the packages that it needs, and the solver.
PEERS: dict[str, tuple[tuple[str, ...], Solve]] = {
    "lp:cvxopt": (("cvxopt",), by_cvxopt),
    "lp:clarabel": (("cvxpy", "clarabel"), by_clarabel),
}


def said(rows: list[Row]) -> list[Row]:
    """The rows, shown while others are still to come."""
    for row in rows:
        print(f"{row.name} {row.measured:.4g} {row.unit}", file=sys.stderr, flush=True)
    return rows


def programme(model: LoadedModel, bench: Bench, peers: int) -> list[Row]:
    """The solvers of equation 3."""
    hybrids = HybridBench.of(model, "cifar10", Sizes(2000, 2000, 2000), bench)
    adversarial = hybrids.attacked(hybrids.lh, 0.01)
    places = hybrids.in_place(hybrids.lh, adversarial)[1].nonzero()[:SAMPLES, 0]
    features = hybrids.features(adversarial[places]).double().numpy()
    with torch.no_grad():
        lacking = (hybrids.lh(hybrids.x[places]) - hybrids.lh(adversarial[places])).double().numpy()
    n = len(places)
    if n < SAMPLES:
        raise RuntimeError(f"{n} adversaries were found; the programme is asked of {SAMPLES}")
    start = time.process_time()
    solved = [by_columns(features, lacking[:, output], 1.0, Silent()) for output in range(lacking.shape[1])]
    spent = time.process_time() - start
    optima = [optimum for _, optimum in solved]
    changed = sum(int(np.count_nonzero(change)) for change, _ in solved)
    rows = said(
        [
            Row("lp:column-generation", spent, n, "s for 10 classes"),
            Row("lp:variables", float(lacking.shape[1] * features.shape[1]), n, "weights"),
            Row("lp:changed", float(changed), n, "weights"),
        ]
    )
    for name, (packages, solve) in PEERS.items():
        if peers == 0 or any(find_spec(package) is None for package in packages):
            continue
        start = time.process_time()
        found = [solve(features, lacking[:, output]) for output in range(peers)]
        spent = (time.process_time() - start) / peers
        apart = max(abs(a - b) / max(1e-12, abs(b)) for a, b in zip(found, optima, strict=False))
        rows += said([Row(name, spent, n, "s a class"), Row(f"{name} apart", apart, peers, "of the optimum")])
    return rows


def drawdown(hybrids: HybridBench, adversarial: torch.Tensor, places: torch.Tensor) -> list[Row]:
    """The published programme and our default: what is fixed, what carries over, and what it costs."""
    repairer, chosen, held = Repairer(hybrids), places[:SAMPLES], places[SAMPLES:]
    start = time.process_time()
    found = _ours(repairer, adversarial[chosen], chosen, RepairSettings())
    models = {
        "default": patched(hybrids.lh, delta_of(hybrids.lh, found.tensors)).eval(),
        "paper": repairer.as_published(adversarial[chosen], chosen),
    }
    before = float(hybrids.right(hybrids.lh, hybrids.x).float().mean())
    rows = [
        Row("solving:default", found.seconds, len(chosen), "s"),
        Row("repair:default", time.process_time() - start, len(chosen), "s with features"),
        Row("clean:before", before, len(hybrids.x), "fraction"),
    ]
    for name, model in models.items():
        right, clean = hybrids.right(model, adversarial), hybrids.right(model, hybrids.x)
        rows += [
            Row(f"fixed:{name}", float(right[chosen].float().mean()), len(chosen), "fraction"),
            Row(f"held-out:{name}", float(right[held].float().mean()), len(held), "fraction"),
            Row(f"drawdown:{name}", 100 * (before - float(clean.float().mean())), len(clean), "percentage points"),
        ]
    return rows


def guaranteed(hybrids: HybridBench, x: torch.Tensor, places: torch.Tensor, kind: Guarantee) -> list[Row]:
    """Balls of `RADIUS` around failures."""
    start = time.process_time()
    found = _ours(Repairer(hybrids), x, places, RepairSettings(kind, RADIUS))
    spent = time.process_time() - start
    model = patched(hybrids.lh, delta_of(hybrids.lh, found.tensors)).eval()
    graph, labels = graph_of(model, x[:2]), hybrids.labels[places]
    balls = ThreatModel("linf", RADIUS).for_model(None).around(x)
    specification = Specification.classified_as(labels, int(hybrids.labels.max()) + 1)
    problem = Problem(digest_module(model), tuple(places.tolist()), balls, specification)
    answers = run_verifier(Complete(), model, graph, problem)
    certified = sum(Certifier().certify(graph, problem[i : i + 1], {}) is not None for i in range(len(x)))
    lost = hybrids.right(hybrids.lh, hybrids.x).float().mean() - hybrids.right(model, hybrids.x).float().mean()
    n = len(x)
    return [
        Row(f"balls verified:{kind}", answers.verdicts.count(Verdict.VERIFIED) / n, n, "fraction"),
        Row(f"balls certified:{kind}", certified / n, n, "fraction"),
        Row(f"drawdown:{kind}", 100 * float(lost), len(hybrids.x), "percentage points"),
        Row(f"solving:{kind}", found.seconds, n, "s"),
        Row(f"repair:{kind}", spent, n, "s with bounds"),
    ]


def _ours(repairer: Repairer, x: torch.Tensor, places: torch.Tensor, settings: RepairSettings) -> Repaired:
    failures = Samples(x, repairer.bench.labels[places], tuple(places.tolist()))
    return repaired(replace(repairer.subject, budget=WorkBudget()), failures, settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--balls", type=int, default=SAMPLES)
    parser.add_argument("--peers", type=int, default=1)
    parser.add_argument("--models", type=Path, default=Path("calipers-runs"))
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--json")
    given = parser.parse_args()
    asked = set(given.only or PARTS)
    torch.set_num_threads(1)
    command = "python -m benchmarks.repair"
    with Store(given.models) as store:
        bench = Bench(store, given.data_dir, 0, command)
        laboratory = Laboratory(store, given.models / "models", None, given.data_dir, 0, track, command)
        rows = programme(trained(recipe_of(QUICK, "cifar10"), laboratory), bench, given.peers) if "lp" in asked else []
        if asked != {"lp"}:
            model = trained(recipe_of(QUICK, "mnist"), laboratory)
            hybrids = HybridBench.of(model, "mnist", Sizes(10_000, 10_000, 10_000), bench)
            adversarial = hybrids.attacked(hybrids.lh, EPSILON)
            places = hybrids.in_place(hybrids.lh, adversarial)[1].nonzero()[:, 0]
        if "drawdown" in asked:
            rows += said(drawdown(hybrids, adversarial, places))
        for kind in (Guarantee.LINEAR, Guarantee.BOX) if "balls" in asked else ():
            chosen = places[: given.balls]
            rows += said(guaranteed(hybrids, adversarial[chosen], chosen, kind))
    write(command, rows, given.json)


if __name__ == "__main__":
    main()
