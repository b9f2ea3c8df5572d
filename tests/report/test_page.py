import json
import os
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from calipers.core.errors import StoreError
from calipers.core.warnings import SanityWarning
from calipers.evaluate.robustness.certify import Certificates
from calipers.evaluate.robustness.summary import RobustnessReport
from calipers.evaluate.robustness.task import MethodSpec, RobustnessTask
from calipers.report.limits import PROVEN, ROUNDING, certificate_status, limits
from calipers.report.nouns import ANYTHING
from calipers.report.numbers import all_numbers, brackets_of, rates_json
from calipers.report.page import Report
from calipers.report.requirements import requirement_lines
from calipers.report.threat import allowed
from calipers.report.verdict import findings, warning_lines

from .examples import REQUIRED, WARNINGS, make_gallery, make_report, without

LIMIT = 1_500_000
HOSTILE = "</script><img src=x onerror=alert(1)>\"'&{{ 7 * 7 }}"


class Page(HTMLParser):
    """Elements with their attributes, their text, and the open elements at the end."""

    VOID = frozenset({"meta", "link", "img", "br", "path", "use", "rect", "col"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in {"script", "style"}:
            self.text += data


def embedded(text: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="calipers-data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    value: dict[str, object] = json.loads(found[1])
    return value


def words_of(report: Report | Page) -> str:
    """The text of a page with plain spaces."""
    page = report if isinstance(report, Page) else Page(report.html())
    return " ".join(page.text.replace("\u202f", " ").split())


def report_page(report: RobustnessReport, **gallery: int) -> Report:
    return Report(report, make_gallery(report, **gallery), Path("runs/calipers.sqlite"))


def test_elements_are_balanced_and_sections_in_order(five_epsilons: RobustnessReport) -> None:
    page = Page(report_page(five_epsilons).html())
    assert page.open == []
    titles = [attrs["aria-labelledby"] for tag, attrs in page.elements if tag == "section"]
    assert titles == [
        "title",
        "bracket",
        "rates",
        "classes",
        "perturbations",
        "gallery",
        "checks",
        "open",
        "limits",
        "repeat",
    ]
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_the_verdict_comes_first(one_epsilon: RobustnessReport) -> None:
    report = report_page(one_epsilon)
    text = words_of(report)
    assert (
        text.index(findings(one_epsilon, report.words))
        < text.index(allowed(one_epsilon.task, report.words))
        < text.index("Between the jaws")
        < text.index("To repeat it")
    )


def test_user_strings_are_text(one_epsilon: RobustnessReport) -> None:
    task = replace(
        one_epsilon.task,
        model=HOSTILE,
        data=HOSTILE,
        weights=HOSTILE,
        class_names=(HOSTILE,) * 10,
        attacks=(MethodSpec(HOSTILE, {HOSTILE: HOSTILE}),),
        versions={**one_epsilon.task.versions, HOSTILE: HOSTILE},
    )
    rates = tuple(replace(row, name=row.name.replace("pgd", HOSTILE)) for row in one_epsilon.rates)
    brackets = tuple(replace(row, timed_out=(HOSTILE,)) for row in one_epsilon.brackets)
    hostile = replace(
        one_epsilon,
        task=task,
        command=HOSTILE,
        rates=rates,
        brackets=brackets,
        warnings=(SanityWarning(HOSTILE, HOSTILE, HOSTILE),),
    )
    items = tuple(replace(item, method=HOSTILE) for item in make_gallery(one_epsilon))
    text = Report(hostile, items, Path(HOSTILE)).html()
    page = Page(text)
    assert page.open == []
    assert HOSTILE in page.text
    assert not any("onerror" in attrs for _, attrs in page.elements)
    assert sum(tag == "script" for tag, _ in page.elements) == 2
    data = embedded(text)
    assert data["command"] == HOSTILE


def test_embedded_numbers_are_the_numbers(five_epsilons: RobustnessReport) -> None:
    report = report_page(five_epsilons)
    data = embedded(report.html())
    assert data == json.loads(json.dumps(report.to_json()))
    assert data["rows"] == json.loads(json.dumps(rates_json(five_epsilons)))["rows"]
    assert brackets_of(data["brackets"]) == five_epsilons.brackets  # type: ignore[arg-type]
    assert RobustnessTask.from_dict(data["task"]) == five_epsilons.task  # type: ignore[arg-type]
    assert [entry["label"] for entry in data["per_class"]] == [label for label, _ in five_epsilons.per_class]  # type: ignore[attr-defined]


def test_a_rate_of_nothing_is_null(one_epsilon: RobustnessReport) -> None:
    nothing = replace(one_epsilon.rates[0], name="attack:none", measured=float("nan"), n=0)
    text = Report(replace(one_epsilon, rates=(*one_epsilon.rates, nothing))).html()
    assert embedded(text)["rows"][-1]["measured"] is None  # type: ignore[index]


def test_nothing_leaves_the_page(five_epsilons: RobustnessReport) -> None:
    text = report_page(five_epsilons).html()
    for tag, attrs in Page(text).elements:
        for key in ("src", "href", "srcset", "xlink:href", "data", "action"):
            if key in attrs:
                assert attrs[key].startswith(("#", "data:")), (tag, key, attrs[key][:80])
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))


def test_every_picture_has_words(cifar: RobustnessReport) -> None:
    page = Page(report_page(cifar, size=32, channels=3).html())
    images = [attrs for tag, attrs in page.elements if tag == "img"]
    assert len(images) == 36
    assert all(attrs["alt"] for attrs in images)
    assert all(attrs.get("aria-hidden") == "true" for tag, attrs in page.elements if tag == "svg")
    spoken = [attrs["aria-label"] for _, attrs in page.elements if attrs.get("role") == "img"]
    assert any("Accuracy against epsilon" in text for text in spoken)
    assert any("nearest adversarial example" in text for text in spoken)
    assert all(spoken)


def test_references_inside_figures_resolve(five_epsilons: RobustnessReport) -> None:
    text = report_page(five_epsilons).html()
    ids = {attrs["id"] for _, attrs in Page(text).elements if "id" in attrs}
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    assert used
    assert used <= ids


def test_figures_follow_the_page(one_epsilon: RobustnessReport) -> None:
    drawings = "".join(
        re.findall(r'<svg viewBox="[^"]*" aria-hidden.*?</svg>', report_page(one_epsilon).html(), re.DOTALL)
    )
    assert "var(--attack)" in drawings
    assert "var(--proof)" in drawings
    assert "<text" in drawings
    assert "DejaVu" not in drawings
    assert re.findall(r"(?:fill|stroke): #(?!fff)\w+", drawings) == []


def test_size_limit(cifar: RobustnessReport) -> None:
    assert len(report_page(cifar, size=32, channels=3).html().encode()) < LIMIT
    whole_test_set = make_report((0.01, 0.02, 0.03), n=10_000)
    large_images = report_page(whole_test_set, size=224, channels=3).html()
    assert len(large_images.encode()) < LIMIT
    assert "Every 25th sample is drawn" in large_images
    assert "The first 500 of" in large_images


def test_the_same_report_gives_the_same_page(five_epsilons: RobustnessReport) -> None:
    assert report_page(five_epsilons).html() == report_page(five_epsilons).html()


def test_a_partial_run_is_marked_at_the_top(one_epsilon: RobustnessReport) -> None:
    assert 'class="caution"' not in Report(one_epsilon).html()
    partial = replace(one_epsilon, status="interrupted", task=replace(one_epsilon.task, samples=400))
    text = Report(partial).html()
    assert text.index('class="caution"') < text.index("<h1>")
    assert "100 of 400 samples" in text


def test_a_run_at_radius_zero_is_drawn() -> None:
    # At radius zero a correct sample is proven and nothing can break it.
    report = make_report((0.03,), n=20)
    rates = tuple(replace(row, epsilon=None if row.epsilon is None else 0.0) for row in report.rates)
    brackets = tuple(replace(row, certified=0.0, distance=None, undecided=()) for row in report.brackets)
    at_zero = replace(report, task=replace(report.task, epsilons=(0.0,)), rates=rates, brackets=brackets)
    assert Page(Report(at_zero).html()).open == []


def test_a_far_adversarial_example_is_drawn(one_epsilon: RobustnessReport) -> None:
    far = tuple(replace(row, distance=None if row.distance is None else 90.0) for row in one_epsilon.brackets)
    assert Page(Report(replace(one_epsilon, brackets=far)).html()).open == []


@pytest.mark.parametrize("status", ["running", "complete"])
def test_a_run_without_samples_still_has_a_page(one_epsilon: RobustnessReport, status: str) -> None:
    empty = replace(one_epsilon, rates=(), per_class=(), brackets=(), status=status)
    page = Page(Report(empty).html())
    assert page.open == []
    assert "No sample has been measured yet." in page.text


@pytest.mark.parametrize("epsilons", [(1e-4, 3e-4), (0.1, 0.1001)])
def test_odd_radii_are_drawn(epsilons: tuple[float, ...]) -> None:
    assert Page(report_page(make_report(epsilons, n=20)).html()).open == []


def test_warnings_and_their_absence(one_epsilon: RobustnessReport) -> None:
    assert "All sanity checks passed." in Report(one_epsilon).html()
    text = Page(Report(replace(one_epsilon, warnings=WARNINGS)).html()).text
    assert "2 sanity warnings" in text
    for warning in WARNINGS:
        assert all(part in text for part in (warning.code, warning.message, warning.evidence))


def test_open_samples_are_listed(one_epsilon: RobustnessReport) -> None:
    text = Report(one_epsilon).html()
    table = text[text.index('<table class="open') :]
    for row in one_epsilon.brackets:
        listed = f'<th scope="row" data-value="{row.sample_id}">' in table
        assert listed == bool(row.undecided or row.timed_out)
    assert "a method did not complete" in " ".join(Page(text).text.split())
    settled = replace(one_epsilon, brackets=tuple(replace(r, undecided=(), timed_out=()) for r in one_epsilon.brackets))
    assert "every sample is decided at every radius" in Report(settled).html()


def test_it_tells_how_to_repeat_it(one_epsilon: RobustnessReport) -> None:
    text = " ".join(Page(report_page(one_epsilon).html()).text.replace("\u202f", " ").split())
    task = one_epsilon.task
    facts = (one_epsilon.command, task.digest, task.model_digest, task.data_digest, "58.3 s", "runs/calipers.sqlite")
    for fact in (*facts, "torch 2.13.0", "steps = 40", "restarts = 2", one_epsilon.created):
        assert fact.replace("\u00a0", " ") in text.replace("\u00a0", " "), fact


def test_save_is_whole_or_not_at_all(
    one_epsilon: RobustnessReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = Report(one_epsilon)
    path = report.save(tmp_path / "new" / "report.html")
    assert path.read_text(encoding="utf-8") == report.html()

    def full(*_: object, **__: object) -> int:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="cannot be written"):
        report.save(path)
    assert path.read_text(encoding="utf-8") == report.html()
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_a_path_that_is_not_text_can_be_saved(one_epsilon: RobustnessReport, tmp_path: Path) -> None:
    Report(one_epsilon, (), Path("runs-\udcff")).save(tmp_path / "report.html")


def test_notebooks_get_an_isolated_frame(one_epsilon: RobustnessReport) -> None:
    report = Report(one_epsilon)
    frame = Page(report._repr_html_())
    [(tag, attrs)] = frame.elements
    assert tag == "iframe"
    assert attrs["srcdoc"] == report.html()
    assert attrs["sandbox"] == "allow-scripts"
    assert attrs["title"]


def test_words(one_epsilon: RobustnessReport) -> None:
    report = Report(one_epsilon)
    assert str(report).splitlines() == [findings(one_epsilon), allowed(one_epsilon.task, report.words)]
    warned = Report(replace(one_epsilon, warnings=WARNINGS), (), requirements=REQUIRED)
    assert str(warned).splitlines()[2:5] == requirement_lines(REQUIRED, one_epsilon.task.unit)
    assert str(warned).splitlines()[5:] == warning_lines(WARNINGS)
    assert one_epsilon.run_id in repr(report)
    assert report.to_json() == all_numbers(one_epsilon)


def test_minimum_norm_attacks_draw_the_distances_they_found(five_epsilons: RobustnessReport) -> None:
    sentence = "fall at the distance of every adversarial example"
    without = Report(five_epsilons).html()
    assert sentence not in without
    task = replace(five_epsilons.task, attacks=(MethodSpec("nearest", {}, minimum_norm=True),))
    page = Report(replace(five_epsilons, task=task)).html()
    assert sentence in page
    assert len(re.findall("stroke-dasharray", page)) > len(re.findall("stroke-dasharray", without))


@pytest.mark.parametrize("kind", ["attack", "verify"])
@pytest.mark.parametrize("epsilons", [(0.03,), (0.01, 0.02, 0.03)])
def test_a_side_that_was_not_run_is_not_measured(kind: str, epsilons: tuple[float, ...]) -> None:
    numbers = without(make_report(epsilons), kind)
    html = Report(numbers).html()
    page = Page(html)
    text = words_of(page)
    assert page.open == []
    jaw, other = ("empirical", "certified") if kind == "attack" else ("certified", "empirical")
    assert "not measured" in text
    assert f"{jaw} not measured" in text  # the chart's label
    assert ("Proven means" in text) == (kind == "attack")
    bars = [attrs["aria-label"] for _, attrs in page.elements if attrs.get("class") == "bar"][1:]
    side = "broken by an attack" if kind == "attack" else "proven"
    assert bars
    assert all(f"{side} not measured" in spoken and "undecided not measured" in spoken for spoken in bars)
    data = embedded(html)
    rows = {(row["name"], row["epsilon"]): row for row in data["rows"]}  # type: ignore[attr-defined]
    for epsilon in epsilons:
        assert rows[jaw, epsilon]["measured"] is rows["undecided", epsilon]["measured"] is None
        assert rows[jaw, epsilon]["n"] == 0
        assert rows[other, epsilon]["measured"] == numbers.rate(other, epsilon).measured


def test_a_layer_that_no_verifier_knows_is_told_and_the_rest_stands(one_epsilon: RobustnessReport) -> None:
    warning = SanityWarning("not-proven", "no verifier knows the layer Hardswish 'body.3'", "1 of 7 layers")
    numbers = replace(without(one_epsilon, "verify"), warnings=(warning,))
    text = words_of(report_page(numbers))
    assert "1 sanity warning below" in text
    assert "Hardswish 'body.3'" in text
    assert "The lower bound was not measured" in text
    assert "Proofs were not measured, so every image that is not broken is open." in text


def test_data_that_are_no_images_are_called_samples(one_epsilon: RobustnessReport) -> None:
    rng = np.random.default_rng(0)
    before = rng.random(30)
    items = tuple(
        replace(item, original=before, adversarial=before + 0.01 * rng.standard_normal(30))
        for item in make_gallery(one_epsilon, count=3)
    )
    seen = Report(one_epsilon, items, shape=(30,)).html()
    assert seen == Report(one_epsilon, items).html()
    for text in (seen, Report(one_epsilon).html()):
        page = Page(text)
        shown = page.text + " ".join(attrs.get("aria-label", "") for _, attrs in page.elements)
        assert page.open == []
        assert not re.search("image|pixel", shown.replace("docs/images", ""))
        assert [tag for tag, _ in page.elements if tag == "img"] == []
    assert "30 of 30 values changed" in words_of(Page(seen))


def test_required_levels_stand_beside_what_was_measured(one_epsilon: RobustnessReport) -> None:
    assert 'class="required"' not in Report(one_epsilon).html()
    report = Report(one_epsilon, requirements=REQUIRED)
    html = report.html()
    text = words_of(Page(html))
    assert "passed certified at least 60 % at 0.03: 62 %" in text
    assert "failed empirical at least 95 % at 0.03: 90.5 %" in text
    assert "failed certified at least 1 % at 0.1: not measured" in text
    passed = (True, False, False)
    expected = [asdict(one) | {"passed": held} for one, held in zip(REQUIRED, passed, strict=True)]
    assert embedded(html)["requirements"] == expected
    assert "requirements" not in Report(one_epsilon).to_json()


def test_meaning_limits_and_certificates_are_told(five_epsilons: RobustnessReport) -> None:
    found = Certificates(Path("runs/my certificates"), 5, 7)
    text = words_of(Report(five_epsilons, certificates=found))
    assert all(sentence in text for sentence in (PROVEN, ROUNDING, certificate_status(found)))
    assert all(sentence.replace("\u202f", " ") in text for sentence in limits(five_epsilons, ANYTHING))
    assert "calipers check 'runs/my certificates'/*.npz --model capm.convsmall" in text


def test_bars_share_a_frame_and_ticks_stand_at_the_radii() -> None:
    text = Report(make_report((0.01, 0.02, 0.05), n=60)).html()
    for name in ("jaws-wide", "jaws-narrow", "perturbation-wide", "perturbation-narrow"):
        drawing = next(svg for svg in re.findall(r"<svg viewBox.*?</svg>", text, re.DOTALL) if f'id="{name}-' in svg)
        labels = re.findall(r">([0-9.]+)</text>", drawing)
        assert {float(label) for label in labels} == {0.0, 0.01, 0.02, 0.05}, name
        assert len(re.findall(rf'id="{name}-xtick_', drawing)) == 4
    columns = [attrs for tag, attrs in Page(text).elements if tag == "col"]
    assert columns[3:] == [{}] * 3  # no width of their own in a fixed layout: equal shares of the rest
    assert "table-layout: fixed" in (files("calipers.report") / "templates" / "style.css").read_text()
