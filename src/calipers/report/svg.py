"""Drawings as SVG elements that follow the page's colours and fonts."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from calipers.report.palette import COLOURS, INK, MUTED, RULE

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "calipers",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that the layout is the same on every machine
    "font.size": 11.0,
    "hatch.linewidth": 0.8,
    "axes.linewidth": 0.8,
    "axes.edgecolor": RULE.light,
    "axes.labelcolor": MUTED.light,
    "xtick.color": MUTED.light,
    "ytick.color": MUTED.light,
    "text.color": INK.light,
    "text.parse_math": False,
    "axes.unicode_minus": True,
}


@dataclass(frozen=True)
class Format:
    """Size of a drawing in inches of 72 px, and the name that keeps its element ids apart.

    letters: so many digits of a tick label fill the width.
    """

    name: str
    width: float
    height: float
    letters: int


WIDE = Format("wide", 13.0, 5.5, 112)
NARROW = Format("narrow", 5.3, 5.2, 46)


@dataclass(frozen=True)
class Chart:
    """One chart in both formats with the text that replaces it for those who can't see it."""

    wide: str
    narrow: str
    alt: str


def draw(form: Format, name: str, font_size: float, paint: Callable[[Axes], None]) -> str:
    """One svg element with what `paint` draws; `name` keeps its element ids apart from other drawings'."""
    with mpl.rc_context({**STYLE, "font.size": font_size}):  # type: ignore[dict-item]
        figure = Figure(figsize=(form.width, form.height), facecolor="none", layout="constrained")
        paint(figure.add_subplot(facecolor="none"))
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(buffer.getvalue(), f"{name}-{form.name}")


def _inline(svg: str, name: str) -> str:
    """The svg element alone, with page colours and fonts, ids that are unique in the page, and short numbers."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'(\sid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true" focusable="false">', svg, count=1
    )
    svg = svg.replace("'DejaVu Sans'", "var(--sans)").replace("DejaVu Sans", "var(--sans)")
    # Inside tags only: digits between them are text.
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d+\.\d{2})\d+", r"\1", tag[0]), svg)
    for colour in COLOURS:
        svg = svg.replace(colour.light, colour.variable)
    return svg.strip()
