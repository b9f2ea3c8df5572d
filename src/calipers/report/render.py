"""The page of a run of robustness: gathers what its templates show."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from calipers.core.rates import Rate
from calipers.evaluate.robustness.certify import Certificates
from calipers.evaluate.robustness.summary import Bracket, RobustnessReport
from calipers.report import wording
from calipers.report.commands import check_command, is_call, script, shell_words
from calipers.report.figures import bracket_chart, has_distances, perturbation_chart
from calipers.report.frame import Section, TemplateSection
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
from calipers.report.rate_groups import rate_groups
from calipers.report.requirements import Required
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
    """All that a page shows."""

    report: RobustnessReport
    words: Nouns
    gallery: tuple[GalleryItem, ...]
    store_path: Path | None
    certificates: Certificates | None
    requirements: tuple[Required, ...]


# In the order of the page.
_TEMPLATES = (
    "verdict",
    "charts",
    "rates",
    "classes",
    "perturbations",
    "gallery",
    "checks",
    "open",
    "limits",
    "repeat",
)


def sections(shown: Shown) -> tuple[Section, ...]:
    """The parts of the page."""
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
    }
    return tuple(TemplateSection(f"{name}.html.j2", context) for name in _TEMPLATES)


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
