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

from calipers.core.rates import Rate
from calipers.evaluate.robustness.certify import Certificates
from calipers.evaluate.robustness.summary import Bracket, RobustnessReport
from calipers.report import wording
from calipers.report.commands import check_command, is_call, script, shell_words
from calipers.report.figures import bracket_chart, has_distances, perturbation_chart
from calipers.report.gallery import (
    AMPLIFICATION,
    Change,
    GalleryItem,
    Pictures,
    changed_values,
    largest_changes,
    pictures,
)
from calipers.report.jaws import Jaws, both_measured, jaws, jaws_of
from calipers.report.limits import PROVEN, ROUNDING, certificate_status, limits
from calipers.report.nouns import Nouns
from calipers.report.numbers import script_json
from calipers.report.palette import style_sheet
from calipers.report.rate_groups import rate_groups
from calipers.report.requirements import Required, asked, reached
from calipers.report.threat import allowed
from calipers.report.verdict import caution, findings

MOST_PICTURES = 12
MOST_LISTED = 500
_HEADLINES = {
    "clean": "Clean accuracy",
    "empirical": "Empirical robust accuracy",
    "certified": "Certified robust accuracy",
    "undecided": "Undecided",
}


@dataclass(frozen=True)
class ClassRow:
    """One class of the per-class table."""

    label: int
    clean: Rate
    jaws: tuple[Jaws, ...]


@dataclass(frozen=True)
class Exhibit:
    """One sample of the gallery: with its pictures, or with the values that changed where it is no image."""

    item: GalleryItem
    pictures: Pictures | None
    changes: tuple[Change, ...]
    changed: int


@dataclass(frozen=True)
class Shown:
    """All that a page shows. data: the numbers to embed."""

    report: RobustnessReport
    words: Nouns
    gallery: tuple[GalleryItem, ...]
    store_path: Path | None
    certificates: Certificates | None
    requirements: tuple[Required, ...]
    data: dict[str, Any]


def render(shown: Shown) -> str:
    """The whole page."""
    report, words, found = shown.report, shown.words, shown.certificates
    rows = jaws(report)
    both = both_measured(rows)
    above = any(row.empirical is not None for row in rows)
    below = any(row.certified is not None for row in rows)
    # Where nothing looked at one side, every sample is open; only what did not complete is worth a list.
    listed = [row for row in report.brackets if (both and row.undecided) or row.timed_out]
    context: dict[str, Any] = {
        "report": report,
        "task": report.task,
        "words": words,
        "caution": caution(report),
        "findings": findings(report, words),
        "allowed": allowed(report.task, words),
        "requirements": shown.requirements,
        "clipping": wording.clipping(report.task),
        "clean": next((row for row in report.rates if row.name == "clean" and row.n > 0), None),
        "jaws": rows,
        "both": both,
        "above": above,
        "below": below,
        "bracket_chart": bracket_chart(report, words),
        "distances": has_distances(report),
        "perturbation_chart": perturbation_chart(report, words),
        "groups": rate_groups(report),
        "correct_groups": rate_groups(report, correct=True),
        "classes": tuple(_classes(report)),
        "decided": _median_sentence(report, words, above, below),
        "exhibits": _exhibits(report, shown.gallery, words),
        "gallery_size": len(shown.gallery),
        "amplification": AMPLIFICATION,
        "listed": sorted(listed, key=_by_openness)[:MOST_LISTED],
        "listed_count": len(listed),
        "undecided_count": sum(bool(row.undecided) for row in listed),
        "timed_out_count": sum(bool(row.timed_out) for row in listed),
        "store_path": shown.store_path,
        "certificates": found,
        "certificate_status": certificate_status(found),
        "check_command": None if found is None else check_command(report.command, report.task, found.folder),
        "proven": PROVEN,
        "rounding": ROUNDING,
        "limits": tuple(limits(report, words)),
        "script_of_call": script(report.command) if is_call(report.command) else None,
        "command_words": shell_words(report.command),
        "headlines": _HEADLINES,
        "palette": Markup(style_sheet()),
        "css": Markup(_text("style.css")),
        "script": Markup(_text("script.js")),
        "data": Markup(script_json(shown.data)),
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
    environment.globals.update(radius=wording.radius, class_name=wording.class_name)
    return environment


def _thin(text: str) -> str:
    return text.replace(" %", "\u202f%").replace(" ms", "\u202fms").replace(" µs", "\u202fµs")


def _place(place: tuple[int, ...]) -> str:
    """The index of a value as it is written in Python, without the brackets where there is one axis."""
    return str(place[0]) if len(place) == 1 else str(list(place))


def _text(name: str) -> str:
    return (resources.files("calipers.report") / "templates" / name).read_text(encoding="utf-8")


def _classes(report: RobustnessReport) -> Iterator[ClassRow]:
    for label, rates in report.per_class:
        clean = next((row for row in rates if row.name == "clean" and row.n > 0), None)
        if clean is not None:
            yield ClassRow(label, clean, jaws_of(rates, report.task))


def _exhibits(report: RobustnessReport, gallery: tuple[GalleryItem, ...], words: Nouns) -> tuple[Exhibit, ...]:
    worst = sorted(gallery, key=lambda item: (item.distance, item.sample_id))[:MOST_PICTURES]
    if words.pictures:
        return tuple(Exhibit(item, pictures(item, report.task.domain), (), 0) for item in worst)
    return tuple(Exhibit(item, None, largest_changes(item), changed_values(item)) for item in worst)


def _median_sentence(report: RobustnessReport, words: Nouns, above: bool, below: bool) -> str:
    """How many of the correctly classified samples are known to be fragile, and how many to be robust."""
    right = [row for row in report.brackets if row.prediction == row.label]
    found = [row.distance for row in right if row.distance is not None]
    proven = sum(row.certified is not None for row in right)
    middle = f" (median distance {wording.number(median(found))})" if found else ""
    known = f"{len(found)} {'has' if len(found) == 1 else 'have'} a known adversarial example{middle}"
    robust = f"{proven} {'is' if proven == 1 else 'are'} proven robust at one radius of the run or more"
    told = " and ".join([known] * above + [robust] * below)
    return f"Of {len(right)} correctly classified {words.many(len(right))} {told}."


def _by_openness(row: Bracket) -> tuple[int, int]:
    return -len(row.timed_out), row.sample_id
