"""The upper jaw: how near minimum-norm attacks come, ours beside those of other libraries, by AttackBench's protocol.

    python -m benchmarks.attacks --weights DIR --data-dir DIR [--models NAMES] [--distances NAMES] [--samples 100]
        [--propagations 100,200,500,2000] [--out DIR] [--findings FILE] [--json FILE]

DIR of --weights holds the networks that the authors of CAPM publish. The model on CIFAR-10 and `convSmall_fast` are
trained by recipe and kept under --out. Two networks mask their gradients: `convSmall_masked` is a published one with
logits times 1000, so that its softmax saturates; `convSmall_fast` was trained on the answer to one gradient step within
linf 0.3, after which gradients near the images point elsewhere.

Everybody gets the same images, those that the model classifies correctly, and the same budget of forward and backward
passes per image, and is scored by the nearest of all points it looks at. Local optimality is 1 for an attack that is
nowhere beaten; its envelope is over all attacks and budgets of this run, so that budgets compare. The means over models
come last, best first. A library that cannot be imported, and a peer that breaks off, is named in the warnings. FAB of
pyautoattack attacks one image at a time, so its time does not compare.

The paired bound is asked about balls around every image, without and with the nearest adversarial example in them: no
ball with one in it may be proven. --findings keeps what every attack reached, and a run goes on from there; it is for
one version of the code.
"""

import argparse
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from benchmarks.findings import Book, Finding
from benchmarks.jaws import invariant
from benchmarks.output import Row, write
from benchmarks.peers import LIBRARIES, Peer
from benchmarks.scores import DISTANCES, Scores, ranking, rows_of
from benchmarks.targets import TARGETS, Sources, Target, load
from benchmarks.verification import both_passes, median_seconds
from calipers.attacks import PDGD, PDPGD, MinimumNormAttack, Nearest, run_minimum_norm
from calipers.cli.memory import keep_freed_memory
from calipers.core.distances import Distance
from calipers.evaluate.progress import Tracker, track
from calipers.evaluate.robustness.curves import envelope, local_optimality
from calipers.evaluate.robustness.metrics import rate


@dataclass(frozen=True)
class Entry:
    """An attack, under the name of its rows."""

    name: str
    attack: MinimumNormAttack


def ours(distance: Distance, propagations: int, step: float) -> list[Entry]:
    """`nearest`, and the thesis's own settings: one run and its fine-tuning, as long as the budget lasts."""
    steps = (propagations - 3) // 4
    entries = [
        Entry("nearest", Nearest(propagations)),
        Entry("PDPGD of the thesis", PDPGD.author(distance, step, steps)),
    ]
    if distance is Distance.L2:
        entries.append(Entry("PDGD of the thesis", PDGD.author(step, steps)))
    return entries


def entries(distance: Distance, propagations: int, step: float) -> tuple[list[Entry], set[str]]:
    """All attacks for a distance and a budget, and why some are missing."""
    found, missing = ours(distance, propagations, step), set()
    for name, library in LIBRARIES.items():
        try:
            found += [Entry(peer.name, peer) for peer in library(distance, propagations)]
        except ImportError as error:
            missing.add(f"{name} did not run beside: {error}")
    return found, missing


def attack_all(
    target: Target, distances: list[Distance], budgets: list[int], tracker: Tracker, done: int, book: Book
) -> tuple[list[Finding], set[str]]:
    """Every attack in every distance and budget on one model; a peer that breaks off becomes a warning."""
    findings: list[Finding] = []
    notes: set[str] = set()
    kept = book.read(target.name, len(target.x))
    for distance in distances:
        for propagations in budgets:
            attacks, missing = entries(distance, propagations, target.rates[distance])
            notes |= missing
            for entry in attacks:
                key = (target.name, distance, propagations, entry.name)
                tracker.advance(" ".join(str(part) for part in key), done)
                if key not in kept:
                    try:
                        result = run_minimum_norm(entry.attack, target.module, target.problem(distance), 0)
                    except Exception as error:
                        if not isinstance(entry.attack, Peer):
                            raise
                        notes.add(f"{target.name} {distance} {propagations}: {entry.name} broke off: {error!r}")
                        continue
                    kept[key] = Finding.of(*key, result)
                    book.write(kept[key])
                findings.append(kept[key])
            done += propagations
    return findings, notes


def measure(
    targets: list[Target], distances: list[Distance], budgets: list[int], tracker: Tracker, book: Book
) -> tuple[list[Row], set[str]]:
    rows: list[Row] = []
    notes: set[str] = set()
    scores: Scores = defaultdict(list)
    for number, target in enumerate(targets):
        share = rate(target.name, None, len(target.x), target.asked)
        rows.append(Row(f"{target.name} clean", share.measured, share.n, "fraction", None, share.low, share.high))
        done = number * len(distances) * sum(budgets)
        findings, missing = attack_all(target, distances, budgets, tracker, done, book)
        notes |= missing
        bare = median_seconds(partial(both_passes, target.module, target.x), 9)
        for distance in distances:
            here = [finding for finding in findings if finding.distance is distance]
            best = envelope(torch.tensor(finding.reached) for finding in here)
            for finding in here:
                rows += rows_of(finding, best, bare)
                optimality = local_optimality(torch.tensor(finding.reached), best)
                if optimality is not None:
                    scores[distance, finding.propagations, finding.attack].append(optimality)
            if distance.norm is not None:
                rows += invariant(target, distance, best)
    return rows + ranking(scores, len(targets)), notes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--models", default=",".join(TARGETS), help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--distances", default=",".join(DISTANCES), help=f"of {', '.join(DISTANCES)}")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--propagations", default="2000", help="budgets, with commas between them")
    parser.add_argument("--out", type=Path, default=Path("calipers-runs/benchmarks"))
    parser.add_argument("--findings", type=Path, help="JSON lines of what was reached; a run goes on from them")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    keep_freed_memory()  # as the program does
    distances = [Distance(name) for name in arguments.distances.split(",")]
    budgets = [int(number) for number in arguments.propagations.split(",")]
    if min(budgets) < 50:
        parser.error(f"--propagations: {min(budgets)}; accepted: 50 or more, below which peers have no room for a step")
    sources = Sources(arguments.weights, arguments.data_dir, arguments.out)
    targets = [load(name, sources, arguments.samples) for name in arguments.models.split(",")]
    with track(len(targets) * len(distances) * sum(budgets)) as tracker:
        rows, notes = measure(targets, distances, budgets, tracker, Book(arguments.findings))
    write("python -m benchmarks.attacks", rows, arguments.json, warnings=tuple(sorted(notes)))


if __name__ == "__main__":
    main()
