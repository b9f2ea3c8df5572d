"""What a repair comes to: counts of all parts added up, and as rates."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from calipers.core.rates import Rate
from calipers.evaluate.repair.task import RepairRecord
from calipers.evaluate.robustness.metrics import rate

_ADDED = ("samples", "right_before", "right_after", "lost", "gained", "robust_before", "robust_after", "transferred")


def numbers_of(records: Iterable[RepairRecord]) -> dict[str, Any]:
    """Of the change, its proofs and its price, as far as these are there. JSON-ready."""
    by_part: dict[str, list[RepairRecord]] = defaultdict(list)
    for record in records:
        by_part[record.part].append(record)
    if not by_part["change"]:
        return {}
    found = dict(by_part["change"][0].values)
    proofs = sorted(by_part["proof"], key=lambda record: record.place)
    found["balls"] = len(proofs)
    found["verified"] = sum(record.values["verdict"] == "verified" for record in proofs)
    found["certificates"] = [record.values["certificate"] for record in proofs if record.values["certificate"]]
    found["unproven"] = [record.values["sample"] for record in proofs if record.values["verdict"] != "verified"]
    compared = [record.values for record in by_part["compare"]]
    found.update({key: sum(values[key] for values in compared) for key in _ADDED})
    if found["samples"]:
        lost = found["right_before"] - found["right_after"]
        found["drawdown_pp"] = 100.0 * lost / found["samples"]
        found["per_class"] = _classes(compared)
    return found


def rates_of(numbers: dict[str, Any], epsilon: float) -> list[Rate]:
    """Rows for tables and machines. epsilon: of the attack."""
    pairs = [
        ("fixed", None, "fixed", "failures"),
        ("held-out-fixed", epsilon, "held_out_fixed", "held_out"),
        ("clean:before", None, "right_before", "samples"),
        ("clean", None, "right_after", "samples"),
        ("empirical:before", epsilon, "robust_before", "samples"),
        ("empirical", epsilon, "robust_after", "samples"),
        ("transferred", epsilon, "transferred", "samples"),
    ]
    rows = [rate(name, at, numbers[hits], numbers[n]) for name, at, hits, n in pairs if numbers.get(n)]
    if numbers.get("balls"):
        rows.append(rate("certified-balls", None, numbers["verified"], numbers["balls"], guarantee=True))
    return rows


def _classes(compared: list[dict[str, Any]]) -> dict[str, list[int]]:
    total: dict[str, list[int]] = {}
    for values in compared:
        for label, counts in values["per_class"].items():
            so_far = total.get(label, [0] * len(counts))
            total[label] = [a + b for a, b in zip(so_far, counts, strict=True)]
    return dict(sorted(total.items(), key=lambda item: int(item[0])))
