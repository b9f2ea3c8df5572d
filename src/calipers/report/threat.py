"""The threat model in one plain sentence: what a perturbation was allowed to do."""

from collections.abc import Callable

from calipers.core.records import RunSpec
from calipers.report.nouns import Nouns
from calipers.report.wording import percent_of, radius

_DISTANCES = {
    "linf": "the largest change of any {value}",
    "l2": "the Euclidean length of all changes together",
    "l1": "the sum of the absolute changes of all {values}",
    "l0-pixels": "the number of places at which anything changes",
    "l0-values": "the number of {values} that change",
}


def allowed(spec: RunSpec, words: Nouns) -> str:
    """What the largest radius of the run allows; what a distance is, for a run without radii."""
    stays = _stays(spec, words)
    if not spec.epsilons:
        meant = _DISTANCES[spec.norm].format(value=words.value, values=words.values)
        return f"A distance is {meant}{_units(spec)}{stays}."
    largest = max(spec.epsilons)
    told = "nothing may change" if largest == 0 else _TOLD[spec.norm](spec, largest, words) + stays
    if len(spec.epsilons) == 1:
        return f"{told[0].upper()}{told[1:]}."
    return f"At the largest radius, {radius(largest, spec.unit)}, {told}."


def _each(spec: RunSpec, epsilon: float, words: Nouns) -> str:
    if spec.domain is not None and epsilon * min(spec.scale) >= _width(spec.domain):
        return f"every {words.value} may take any value of its range"
    return f"every {words.value} may change by up to {_size(spec, epsilon, words)}"


def _length(spec: RunSpec, epsilon: float, words: Nouns) -> str:
    total = f"all changes together may have a Euclidean length of up to {radius(epsilon, spec.unit)}{_units(spec)}"
    return total + _example(spec, epsilon, epsilon / (words.count or 1) ** 0.5, words)


def _sum(spec: RunSpec, epsilon: float, words: Nouns) -> str:
    total = f"the absolute changes of all {words.values} may add up to {radius(epsilon, spec.unit)}{_units(spec)}"
    return total + _example(spec, epsilon, epsilon / (words.count or 1), words)


def _example(spec: RunSpec, alone: float, spread: float, words: Nouns) -> str:
    """What that comes to for one value alone, and for all of them at once where their number is known."""
    one = f", for example one {words.value} alone by {_size(spec, alone, words)}"
    return one if words.count is None else f"{one}, or all {words.count:,} by {_size(spec, spread, words)} each"


def _size(spec: RunSpec, epsilon: float, words: Nouns) -> str:
    """A change of one value: in per cent of its range where the range is known, else as it is."""
    low, high = epsilon * min(spec.scale), epsilon * max(spec.scale)
    channels = " (by channel)" if low != high else ""
    if spec.domain is None:
        plain = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
        told = f", which is {_shares(low, high)} of the range from 0 to 1" if words.pictures and high <= 1 else ""
        return f"{plain}{channels}{told}"
    low, high = low / _width(spec.domain), high / _width(spec.domain)
    return "its whole range" if low >= 1 else f"{_shares(low, min(high, 1.0))} of its range{channels}"


def _shares(low: float, high: float) -> str:
    first, last = percent_of(low), percent_of(high)
    return last if first == last else f"{first.removesuffix(' %')} to {last}"


def _width(domain: tuple[float, float]) -> float:
    return domain[1] - domain[0]


def _units(spec: RunSpec) -> str:
    if spec.norm.startswith("l0") or spec.unit == "pixel":
        return ""
    return ", each change divided by the standard deviation of its channel"


def _stays(spec: RunSpec, words: Nouns) -> str:
    """Whether values have to stay in the domain; in linf the sentence is about every value already."""
    subject = " and" if spec.epsilons and spec.norm == "linf" else f"; every {words.value}"
    if spec.domain is None:
        return f"{subject} may leave the range of the data"
    return f"{subject} stays between {spec.domain[0]:g} and {spec.domain[1]:g}"


_TOLD: dict[str, Callable[[RunSpec, float, Nouns], str]] = {"linf": _each, "l2": _length, "l1": _sum}
