"""What a comparison of minimum-norm attacks reports: rows of one attack, and the order of all."""

import torch
from torch import Tensor

from benchmarks.findings import Finding
from benchmarks.output import Row
from calipers.core.distances import Distance
from calipers.evaluate.robustness.curves import local_optimality, local_optimality_interval
from calipers.evaluate.robustness.metrics import rate

DISTANCES = (Distance.LINF, Distance.L2, Distance.L1, Distance.L0_PIXELS)

# Local optimality on every model, by (distance, budget, attack).
Scores = dict[tuple[Distance, int, str], list[float]]


def rows_of(finding: Finding, best: Tensor, bare: float) -> list[Row]:
    """bare: seconds of a forward and a backward pass of all images together."""
    distances, n, label = torch.tensor(finding.reached), len(finding.reached), finding.label
    reached = distances[distances.isfinite()]
    norm, each = str(finding.distance), finding.seconds / n
    broken = rate(label, None, len(reached), n)
    rows = [
        Row(f"{label} success|correct", broken.measured, n, "fraction", None, broken.low, broken.high, each, norm=norm)
    ]
    optimality, interval = local_optimality(distances, best), local_optimality_interval(distances, best)
    if optimality is not None and interval is not None:
        rows.append(Row(f"{label} local optimality", optimality, n, "fraction", None, *interval, norm=norm))
    if len(reached):
        # Unbroken images are not in the mean and the median; how many there are is the row of the success.
        for name, value in (("median", reached.quantile(0.5)), ("mean", reached.mean())):
            row = Row(
                f"{label} {name} distance", float(value), len(reached), "distance", norm=norm, epsilon_unit="pixel"
            )
            rows.append(row)
    rows.append(Row(f"{label} propagations", finding.spent, n, "passes"))
    rows.append(Row(f"{label} time", each, n, "s/image"))
    rows.append(Row(f"{label} iteration / bare passes", finding.seconds / (finding.spent / 2) / bare, n, "ratio"))
    return rows


def ranking(scores: Scores, models: int) -> list[Row]:
    """Means over the models of the attacks that ran on all of them: per distance and budget, best first."""
    means = {key: sum(values) / models for key, values in scores.items() if len(values) == models}
    ordered = sorted(means, key=lambda key: (DISTANCES.index(key[0]), key[1], -means[key]))
    label = f"mean over {models} models: "
    return [
        Row(
            f"{label}{distance} {budget} {attack} local optimality", means[distance, budget, attack], models, "fraction"
        )
        for distance, budget, attack in ordered
    ]
