import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from calipers.core.errors import StoreError
from calipers.core.records import MethodSpec, RobustnessReport, RunSpec, SanityWarning
from calipers.report.numbers import all_numbers, brackets_of, rates_json
from calipers.report.page import Report
from calipers.report.wording import findings

from .examples import WARNINGS, make_gallery, make_report

LIMIT = 1_500_000
HOSTILE = "</script><img src=x onerror=alert(1)>\"'&{{ 7 * 7 }}"


class Page(HTMLParser):
    """Elements with their attributes, their text, and the open elements at the end."""

    VOID = frozenset({"meta", "link", "img", "br", "path", "use", "rect"})

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


def report_page(report: RobustnessReport, **gallery: int) -> Report:
    return Report(report, make_gallery(report, **gallery), Path("runs/calipers.sqlite"))


def test_elements_are_balanced_and_sections_in_order(five_epsilons: RobustnessReport) -> None:
    page = Page(report_page(five_epsilons).html())
    assert page.open == []
    titles = [attrs["aria-labelledby"] for tag, attrs in page.elements if tag == "section"]
    assert titles == ["title", "bracket", "rates", "classes", "perturbations", "gallery", "checks", "open", "repeat"]
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_the_verdict_comes_first(one_epsilon: RobustnessReport) -> None:
    text = " ".join(Page(report_page(one_epsilon).html()).text.replace("\u202f", " ").split())
    assert text.index(findings(one_epsilon)) < text.index("Between the jaws") < text.index("To repeat it")


def test_user_strings_are_text(one_epsilon: RobustnessReport) -> None:
    spec = replace(
        one_epsilon.spec,
        model=HOSTILE,
        data=HOSTILE,
        weights=HOSTILE,
        class_names=(HOSTILE,) * 10,
        attacks=(MethodSpec(HOSTILE, {HOSTILE: HOSTILE}),),
        versions={**one_epsilon.spec.versions, HOSTILE: HOSTILE},
    )
    rates = tuple(replace(row, name=row.name.replace("pgd", HOSTILE)) for row in one_epsilon.rates)
    brackets = tuple(replace(row, timed_out=(HOSTILE,)) for row in one_epsilon.brackets)
    hostile = replace(
        one_epsilon,
        spec=spec,
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
    assert RunSpec.from_dict(data["spec"]) == five_epsilons.spec  # type: ignore[arg-type]
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
    partial = replace(one_epsilon, status="interrupted", spec=replace(one_epsilon.spec, samples=400))
    text = Report(partial).html()
    assert text.index('class="caution"') < text.index("<h1>")
    assert "100 of 400 samples" in text


def test_a_run_at_radius_zero_is_drawn() -> None:
    # At radius zero a correct sample is proven and nothing can break it.
    report = make_report((0.03,), n=20)
    rates = tuple(replace(row, epsilon=None if row.epsilon is None else 0.0) for row in report.rates)
    brackets = tuple(replace(row, certified=0.0, distance=None, undecided=()) for row in report.brackets)
    at_zero = replace(report, spec=replace(report.spec, epsilons=(0.0,)), rates=rates, brackets=brackets)
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
    spec = one_epsilon.spec
    facts = (one_epsilon.command, spec.digest, spec.model_digest, spec.data_digest, "58.3 s", "runs/calipers.sqlite")
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

    monkeypatch.setattr(Path, "write_text", full)
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
    assert str(report) == findings(one_epsilon)
    assert one_epsilon.run_id in repr(report)
    assert report.to_json() == all_numbers(one_epsilon)


def test_minimum_norm_attacks_draw_the_distances_they_found(five_epsilons: RobustnessReport) -> None:
    sentence = "fall at the distance of every adversarial example"
    without = Report(five_epsilons).html()
    assert sentence not in without
    spec = replace(five_epsilons.spec, attacks=(MethodSpec("nearest", {}, minimum_norm=True),))
    page = Report(replace(five_epsilons, spec=spec)).html()
    assert sentence in page
    assert len(re.findall("stroke-dasharray", page)) > len(re.findall("stroke-dasharray", without))
