"""Realistic finished runs, small enough to draw in a moment."""

from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np

from calipers.core.rates import Rate
from calipers.core.space import InputSpace, RadiusUnit
from calipers.core.warnings import SanityWarning
from calipers.evaluate.robustness.requirement import RequirementOutcome
from calipers.evaluate.robustness.summary import Bracket, RobustnessReport
from calipers.evaluate.robustness.task import MethodSpec, RobustnessTask
from calipers.report.gallery import GalleryItem

VERSIONS = {"python": "3.11.9", "torch": "2.13.0", "numpy": "2.4.6", "calipers": "0.1.0"}
CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def wilson(name: str, epsilon: float | None, hits: int, n: int, seconds: float | None = None) -> Rate:
    """A rate with its Wilson interval."""
    z = NormalDist().inv_cdf(0.975)
    share = hits / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    low = 0.0 if hits == 0 else centre - half
    high = 1.0 if hits == n else centre + half
    return Rate(name, epsilon, share, n, low, high, seconds)


def make_task(epsilons: tuple[float, ...], samples: int, **changes: Any) -> RobustnessTask:
    task = RobustnessTask(
        model="capm.convsmall",
        model_digest="sha256:5a1f0c9be3d2",
        weights="weights/convSmall_normal_mnist.safetensors",
        data="mnist/test",
        data_digest="sha256:77c0d9a41b60",
        class_names=tuple("0123456789"),
        samples=samples,
        norm="linf",
        epsilons=epsilons,
        space=InputSpace(None, RadiusUnit.NORMALISED, (0.3081,)),
        attacks=(
            MethodSpec("fgsm", {"restarts": 1}),
            MethodSpec("pgd", {"steps": 40, "restarts": 2, "step_size": 0.1}),
        ),
        verifiers=(MethodSpec("ibp"), MethodSpec("capm", {"memory": "1 GiB"})),
        seed=0,
        batch_size=50,
        versions=VERSIONS,
    )
    space = {name: changes.pop(name) for name in ("unit", "scale", "domain") if name in changes}
    if "unit" in space:
        space["unit"] = RadiusUnit(space["unit"])
    return replace(task, **{"space": replace(task.space, **space), **changes})


def make_brackets(task: RobustnessTask, n: int, seed: int = 0, strength: float = 1.0) -> tuple[Bracket, ...]:
    """Draw true radii, then let an attack overshoot and a proof undershoot them."""
    rng = np.random.default_rng(seed)
    top = max(task.epsilons)
    classes = max(1, len(task.class_names))
    rows = []
    for sample in range(n):
        label = int(rng.integers(classes))
        radius = float(rng.gamma(4.0, top / 4.0 * strength)) * (0.7 + 0.5 * label / classes)
        if rng.random() < 0.03:
            rows.append(Bracket(sample, label, (label + 1) % classes, None, 0.0, (), ()))
            continue
        proven = [e for e in task.epsilons if e <= radius * 0.72]
        found = [max(radius, rng.uniform(0.6, 1.0) * e) for e in task.epsilons if e >= radius * 1.04]
        certified = max(proven, default=None)
        distance = min(found) if found else None
        undecided = tuple(e for e in task.epsilons if e > (certified or 0.0) and (distance is None or distance > e))
        timed_out = ("capm",) if undecided and rng.random() < 0.1 else ()
        rows.append(Bracket(sample, label, label, certified, distance, undecided, timed_out))
    return tuple(rows)


def rates_of(task: RobustnessTask, brackets: tuple[Bracket, ...], methods: bool = True) -> tuple[Rate, ...]:
    n = len(brackets)
    correct = [row for row in brackets if row.prediction == row.label]
    rates = [wilson("clean", None, len(correct), n, 0.0004)]
    for epsilon in task.epsilons:
        empirical = sum(row.distance is None or row.distance > epsilon for row in correct)
        certified = sum(row.certified is not None and row.certified >= epsilon for row in correct)
        rates += [
            wilson("empirical", epsilon, empirical, n),
            wilson("certified", epsilon, certified, n),
            wilson("undecided", epsilon, empirical - certified, n),
        ]
        if methods:
            rates += [
                wilson("attack:fgsm", epsilon, min(len(correct), empirical + n // 50), n, 0.0021),
                wilson("attack:pgd", epsilon, empirical, n, 0.153),
                wilson("verify:ibp", epsilon, certified // 3, n, 0.0009),
                wilson("verify:capm", epsilon, certified, n, 0.412),
                wilson("attack:pgd|correct", epsilon, empirical, len(correct), 0.153),
                wilson("verify:capm|correct", epsilon, certified, len(correct), 0.412),
            ]
    return tuple(rates)


def make_report(
    epsilons: tuple[float, ...] = (0.03,), n: int = 100, seed: int = 0, strength: float = 1.9, **changes: Any
) -> RobustnessReport:
    task = make_task(epsilons, n, **changes)
    brackets = make_brackets(task, n, seed, strength)
    labels = sorted({row.label for row in brackets})
    per_class = tuple(
        (label, rates_of(task, tuple(row for row in brackets if row.label == label), methods=False)) for label in labels
    )
    radii = " ".join(f"{epsilon:g}" for epsilon in epsilons)
    return RobustnessReport(
        run_id="20250309-4fd21a",
        task=task,
        command=f"calipers measure --model {task.model} --data mnist --norm linf --eps {radii} "
        f"--unit {task.unit} --domain none --samples {n} --seed 0",
        created="2025-03-09T10:11:12+00:00",
        seconds=58.3,
        status="complete",
        rates=rates_of(task, brackets),
        per_class=per_class,
        brackets=brackets,
        warnings=(),
    )


def blob(label: int, size: int, channels: int, seed: int) -> np.ndarray:
    """A smooth stroke-like picture on [0, 1]."""
    rng = np.random.default_rng(1000 * label + seed)
    y, x = np.mgrid[0:size, 0:size] / (size - 1) * 2 - 1
    layers = []
    for channel in range(channels):
        phase = 0.6 * label + 0.5 * channel
        ring = np.exp(-30 * (np.hypot(x - 0.12 * np.cos(phase), y * (0.6 + 0.05 * label)) - 0.5) ** 2)
        stroke = np.exp(-40 * (x * np.cos(phase) + y * np.sin(phase)) ** 2) * (np.hypot(x, y) < 0.75)
        layers.append(np.clip(ring * (label % 2) + stroke + 0.02 * rng.standard_normal((size, size)), 0, 1))
    return np.stack(layers)


def make_gallery(
    report: RobustnessReport, count: int = 12, size: int = 28, channels: int = 1
) -> tuple[GalleryItem, ...]:
    rng = np.random.default_rng(5)
    right = [row for row in report.brackets if row.distance is not None and row.prediction == row.label]
    items = []
    for row in sorted(right, key=lambda row: row.distance or 0.0)[:count]:
        original = blob(row.label, size, channels, row.sample_id)
        change = np.sign(rng.standard_normal(original.shape)) * (row.distance or 0.0) * report.task.scale[0]
        after = original + change
        adversarial = after if report.task.domain is None else np.clip(after, *report.task.domain)
        classes = len(report.task.class_names)
        epsilon = min(e for e in (*report.task.epsilons, 9.0) if e >= (row.distance or 0.0) - 1e-9)
        items.append(
            GalleryItem(
                row.sample_id,
                row.label,
                (row.label + 5) % classes,
                original,
                adversarial,
                row.distance or 0.0,
                epsilon,
                "pgd",
            )
        )
    return tuple(items)


WARNINGS = (
    SanityWarning(
        "gradient-masking",
        "A weaker attack beats a stronger one, which points to masked gradients: the empirical rate may be too high.",
        "fgsm breaks 14 samples at epsilon 0.03 that pgd does not",
    ),
    SanityWarning(
        "clean-below-chance", "The model is no better than guessing.", "clean accuracy 9.0 % on 10 balanced classes"
    ),
)


def without(report: RobustnessReport, kind: str) -> RobustnessReport:
    """The report of a run that had no attacks (kind "attack") or no verifiers ("verify"), as it is summed up."""
    jaw = {"attack": "empirical", "verify": "certified"}[kind]

    def rest(rates: tuple[Rate, ...]) -> tuple[Rate, ...]:
        return tuple(rate for rate in rates if not rate.name.startswith((jaw, "undecided", f"{kind}:")))

    attack, task = kind == "attack", report.task
    return replace(
        report,
        task=replace(task, attacks=() if attack else task.attacks, verifiers=task.verifiers if attack else ()),
        rates=rest(report.rates),
        per_class=tuple((label, rest(rates)) for label, rates in report.per_class),
        brackets=tuple(
            replace(
                row,
                undecided=task.epsilons,
                distance=None if attack else row.distance,
                certified=row.certified if attack else None,
            )
            for row in report.brackets
        ),
    )


REQUIRED = (
    RequirementOutcome("certified", 0.6, 0.03, 0.62),
    RequirementOutcome("empirical", 0.95, 0.03, 0.905),
    RequirementOutcome("certified", 0.01, 0.1, None),
)
