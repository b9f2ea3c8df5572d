"""Words and number formats shared by the page and the terminal."""

import math

from calipers.core.rates import Rate
from calipers.evaluate.robustness.task import RobustnessTask

DASH = "\N{EN DASH}"
NOT_MEASURED = "not measured"


def percent(share: float, digits: int = 1) -> str:
    """A share as a percentage with a fixed number of digits; a dash for a share of nothing."""
    if not math.isfinite(share):
        return DASH
    # Only exactly none or all may read as 0 % or 100 %.
    while 0 < share < 1 and digits < 6 and float(f"{100 * share:.{digits}f}") in (0.0, 100.0):
        digits += 1
    return f"{100 * share:.{digits}f} %"


def percent_of(share: float) -> str:
    """A part as a percentage to three significant digits, for sizes and not for rates: 3 %, 3.14 %, 0.0924 %."""
    return f"{100 * share:.3g} %"


def plain_percent(share: float) -> str:
    """The percentage for running text: 65 %, 65.3 %."""
    return percent(share).replace(".0 %", " %")


def measured(rate: Rate | None) -> str:
    """A rate as a percentage; "not measured" where there is none, which is another thing than 0 %."""
    return NOT_MEASURED if rate is None or rate.n == 0 else percent(rate.measured)


def interval(rate: Rate | None) -> str:
    """The 95 % interval of a rate, in per cent; a dash for one that was not measured."""
    if rate is None or not (math.isfinite(rate.low) and math.isfinite(rate.high)):
        return DASH
    return f"{100 * rate.low:.1f} {DASH} {100 * rate.high:.1f}"


def number(value: float | None) -> str:
    """A length to four significant digits; a dash for none."""
    return DASH if value is None else f"{value:.4g}"


def radius(epsilon: float, unit: str) -> str:
    """Epsilon as its user wrote it: pixel radii that are whole grey levels are printed as k/255."""
    levels = epsilon * 255
    if unit == "pixel" and len(f"{epsilon:g}") > 6 and abs(levels - round(levels)) < 1e-6:
        return f"{round(levels)}/255"
    return f"{epsilon:g}"


def seconds(value: float | None) -> str:
    """A time in the unit that suits its size."""
    if value is None or not math.isfinite(value):
        return DASH
    if value >= 3600:
        return f"{int(value // 3600)} h {round(value % 3600 / 60)} min"
    if value >= 60:
        return f"{int(value // 60)} min {int(value % 60)} s"
    if value >= 1:
        return f"{value:.1f} s"
    if value >= 9.995e-4:
        return f"{value * 1e3:.3g} ms"
    return f"{value * 1e6:.3g} µs"


def spent(row: Rate | None) -> str:
    """A method's time per sample: the median, and the largest where that is another matter (searches that time out)."""
    if row is None or row.seconds is None:
        return ""
    unequal = row.slowest is not None and row.slowest >= max(1.0, 10 * row.seconds)
    return seconds(row.seconds) + (f", up to {seconds(row.slowest)}" if unequal else "")


def clipping(task: RobustnessTask) -> str:
    """Whether perturbed inputs stay inside a domain."""
    return "unclipped" if task.domain is None else f"clipped to [{task.domain[0]:g}, {task.domain[1]:g}]"


def class_name(task: RobustnessTask, label: int) -> str:
    """The class's name, or its number where the data set names none."""
    return task.class_names[label] if 0 <= label < len(task.class_names) else str(label)
