"""How templates are filled in."""

import json
from functools import cache

import jinja2

from calipers.report import wording
from calipers.report.requirements import asked, reached


@cache
def environment() -> jinja2.Environment:
    """Templates of this room, with the words and figures of the report as filters."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("calipers.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        pc=lambda share: _thin(wording.percent(share)),
        measured=lambda rate: _thin(wording.measured(rate)),
        required=asked,
        reached=lambda one: _thin(reached(one)),
        place=_place,
        signed=lambda value: f"{value:+.3g}".replace("-", "\N{MINUS SIGN}"),
        thin=_thin,
        interval=wording.interval,
        number=wording.number,
        seconds=lambda value: _thin(wording.seconds(value)),
        spent=lambda row: _thin(wording.spent(row)),
        width=lambda share: f"{100 * min(max(share, 0.0), 1.0):.3f}%",
        compact=lambda value: json.dumps(value, ensure_ascii=False, default=str),
    )
    made.globals.update(radius=wording.radius, class_name=wording.class_name)
    return made


def _thin(text: str) -> str:
    return text.replace(" %", "\u202f%").replace(" ms", "\u202fms").replace(" µs", "\u202fµs")


def _place(place: tuple[int, ...]) -> str:
    """The index of a value as it is written in Python, without the brackets where there is one axis."""
    return str(place[0]) if len(place) == 1 else str(list(place))
