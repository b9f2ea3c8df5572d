"""The threat model in one plain sentence: what a perturbation was allowed to do."""

from collections.abc import Callable

from calipers.evaluate.robustness.task import RobustnessTask
from calipers.report.nouns import Nouns
from calipers.report.wording import percent_of, radius

_DISTANCES = {
    "linf": "the largest change of any {value}",
    "l2": "the Euclidean length of all changes together",
    "l1": "the sum of the absolute changes of all {values}",
    "l0-pixels": "the number of places at which anything changes",
    "l0-values": "the number of {values} that change",
}


def allowed(task: RobustnessTask, words: Nouns) -> str:
    """What the largest radius of the run allows; what a distance is, for a run without radii."""
    stays = _stays(task, words)
    if not task.epsilons:
        meant = _DISTANCES[task.norm].format(value=words.value, values=words.values)
        return f"A distance is {meant}{_units(task)}{stays}."
    largest = max(task.epsilons)
    told = "nothing may change" if largest == 0 else _TOLD[task.norm](task, largest, words) + stays
    if len(task.epsilons) == 1:
        return f"{told[0].upper()}{told[1:]}."
    return f"At the largest radius, {radius(largest, task.unit)}, {told}."


def _each(task: RobustnessTask, epsilon: float, words: Nouns) -> str:
    if task.domain is not None and epsilon * min(task.scale) >= _width(task.domain):
        return f"every {words.value} may take any value of its range"
    return f"every {words.value} may change by up to {_size(task, epsilon, words)}"


def _length(task: RobustnessTask, epsilon: float, words: Nouns) -> str:
    total = f"all changes together may have a Euclidean length of up to {radius(epsilon, task.unit)}{_units(task)}"
    return total + _example(task, epsilon, epsilon / (words.count or 1) ** 0.5, words)


def _sum(task: RobustnessTask, epsilon: float, words: Nouns) -> str:
    total = f"the absolute changes of all {words.values} may add up to {radius(epsilon, task.unit)}{_units(task)}"
    return total + _example(task, epsilon, epsilon / (words.count or 1), words)


def _example(task: RobustnessTask, alone: float, spread: float, words: Nouns) -> str:
    """What that comes to for one value alone, and for all of them at once where their number is known."""
    one = f", for example one {words.value} alone by {_size(task, alone, words)}"
    return one if words.count is None else f"{one}, or all {words.count:,} by {_size(task, spread, words)} each"


def _size(task: RobustnessTask, epsilon: float, words: Nouns) -> str:
    """A change of one value: in per cent of its range where the range is known, else as it is."""
    low, high = epsilon * min(task.scale), epsilon * max(task.scale)
    channels = " (by channel)" if low != high else ""
    if task.domain is None:
        plain = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
        told = f", which is {_shares(low, high)} of the range from 0 to 1" if words.pictures and high <= 1 else ""
        return f"{plain}{channels}{told}"
    low, high = low / _width(task.domain), high / _width(task.domain)
    return "its whole range" if low >= 1 else f"{_shares(low, min(high, 1.0))} of its range{channels}"


def _shares(low: float, high: float) -> str:
    first, last = percent_of(low), percent_of(high)
    return last if first == last else f"{first.removesuffix(' %')} to {last}"


def _width(domain: tuple[float, float]) -> float:
    return domain[1] - domain[0]


def _units(task: RobustnessTask) -> str:
    if task.norm.startswith("l0") or task.unit == "pixel":
        return ""
    return ", each change divided by the standard deviation of its channel"


def _stays(task: RobustnessTask, words: Nouns) -> str:
    """Whether values have to stay in the domain; in linf the sentence is about every value already."""
    subject = " and" if task.epsilons and task.norm == "linf" else f"; every {words.value}"
    if task.domain is None:
        return f"{subject} may leave the range of the data"
    return f"{subject} stays between {task.domain[0]:g} and {task.domain[1]:g}"


_TOLD: dict[str, Callable[[RobustnessTask, float, Nouns], str]] = {"linf": _each, "l2": _length, "l1": _sum}
