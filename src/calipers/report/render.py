"""From numbers to HTML: gathers what the templates show and fills them in."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Any

import jinja2
from markupsafe import Markup

from calipers.core.records import Bracket, Rate, RobustnessReport
from calipers.evaluate.certify import Certificates
from calipers.report import wording
from calipers.report.figures import bracket_chart, has_distances, perturbation_chart
from calipers.report.gallery import AMPLIFICATION, GalleryItem, Pictures, pictures
from calipers.report.jaws import Jaws, jaws, jaws_of
from calipers.report.numbers import all_numbers, script_json
from calipers.report.palette import style_sheet

MOST_PICTURES = 12
MOST_LISTED = 500
_HEADLINES = {
    "clean": "Clean accuracy",
    "empirical": "Empirical robust accuracy",
    "certified": "Certified robust accuracy",
    "undecided": "Undecided",
}


@dataclass(frozen=True)
class RateGroup:
    """Rows of the table of rates at one epsilon; None stands for the unperturbed samples."""

    epsilon: float | None
    rows: tuple[Rate, ...]


@dataclass(frozen=True)
class ClassRow:
    """One class of the per-class table."""

    label: int
    clean: Rate
    jaws: tuple[Jaws, ...]


@dataclass(frozen=True)
class Exhibit:
    """One sample of the gallery with its pictures."""

    item: GalleryItem
    pictures: Pictures


def render(
    report: RobustnessReport,
    gallery: tuple[GalleryItem, ...],
    store_path: Path | None,
    certificates: Certificates | None,
) -> str:
    """The whole page."""
    rows = jaws(report)
    listed = [row for row in report.brackets if row.undecided or row.timed_out]
    context: dict[str, Any] = {
        "report": report,
        "spec": report.spec,
        "caution": wording.caution(report),
        "findings": wording.findings(report),
        "clipping": wording.clipping(report.spec),
        "clean": next((row for row in report.rates if row.name == "clean" and row.n > 0), None),
        "jaws": rows,
        "bracket_chart": bracket_chart(report),
        "distances": has_distances(report),
        "perturbation_chart": perturbation_chart(report),
        "groups": _groups([row for row in report.rates if not row.name.endswith("|correct")]),
        "correct_groups": _groups([row for row in report.rates if row.name.endswith("|correct")]),
        "classes": tuple(_classes(report)),
        "decided": _median_sentence(report),
        "exhibits": _exhibits(report, gallery),
        "gallery_size": len(gallery),
        "amplification": AMPLIFICATION,
        "listed": sorted(listed, key=_by_openness)[:MOST_LISTED],
        "listed_count": len(listed),
        "undecided_count": sum(bool(row.undecided) for row in listed),
        "timed_out_count": sum(bool(row.timed_out) for row in listed),
        "store_path": store_path,
        "certificates": certificates,
        "headlines": _HEADLINES,
        "palette": Markup(style_sheet()),
        "css": Markup(_text("style.css")),
        "script": Markup(_text("script.js")),
        "data": Markup(script_json(all_numbers(report))),
    }
    return _environment().get_template("page.html.j2").render(context)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("calipers.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        pc=lambda share: _thin(wording.percent(share)),
        thin=_thin,
        interval=wording.interval,
        number=wording.number,
        seconds=lambda value: _thin(wording.seconds(value)),
        spent=lambda row: _thin(wording.spent(row)),
        width=lambda share: f"{100 * min(max(share, 0.0), 1.0):.3f}%",
        compact=lambda value: json.dumps(value, ensure_ascii=False, default=str),
    )
    environment.globals.update(radius=wording.radius, class_name=wording.class_name)
    return environment


def _thin(text: str) -> str:
    return text.replace(" %", "\u202f%").replace(" ms", "\u202fms").replace(" µs", "\u202fµs")


def _text(name: str) -> str:
    return (resources.files("calipers.report") / "templates" / name).read_text(encoding="utf-8")


def _groups(rows: list[Rate]) -> tuple[RateGroup, ...]:
    radii = sorted({row.epsilon for row in rows if row.epsilon is not None})
    order = list(_HEADLINES)

    def rank(row: Rate) -> int:
        name = row.name.removesuffix("|correct")
        return order.index(name) if name in order else len(order)

    groups = (RateGroup(at, tuple(sorted((r for r in rows if r.epsilon == at), key=rank))) for at in (None, *radii))
    return tuple(group for group in groups if group.rows)


def _classes(report: RobustnessReport) -> Iterator[ClassRow]:
    for label, rates in report.per_class:
        clean = next((row for row in rates if row.name == "clean" and row.n > 0), None)
        if clean is not None:
            yield ClassRow(label, clean, jaws_of(rates, report.spec))


def _exhibits(report: RobustnessReport, gallery: tuple[GalleryItem, ...]) -> tuple[Exhibit, ...]:
    worst = sorted(gallery, key=lambda item: (item.distance, item.sample_id))[:MOST_PICTURES]
    return tuple(Exhibit(item, pictures(item, report.spec.domain)) for item in worst)


def _median_sentence(report: RobustnessReport) -> str:
    right = [row for row in report.brackets if row.prediction == row.label]
    found = [row.distance for row in right if row.distance is not None]
    proven = sum(row.certified is not None for row in right)
    middle = f" (median distance {wording.number(median(found))})" if found else ""
    return (
        f"Of {len(right)} correctly classified images {len(found)} have a known adversarial example{middle} "
        f"and {proven} are proven robust at one radius of the run or more."
    )


def _by_openness(row: Bracket) -> tuple[int, int]:
    return -len(row.timed_out), row.sample_id
