"""The page in a real browser: no error, no request, everything visible, both colour schemes."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import calipers
from calipers.data.loading import load_dataset
from calipers.evaluate.robustness.summary import RobustnessReport
from calipers.report.page import Report

from .examples import WARNINGS, make_gallery, make_report

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no Chromium or no chromedriver on this machine: the report was not opened in a browser")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    running = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver))
    yield running
    running.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    report: RobustnessReport = replace(make_report((0.01, 0.03, 0.05), n=60), warnings=WARNINGS)
    path = Report(report, make_gallery(report)).save(tmp_path_factory.mktemp("page") / "report.html")
    return path.as_uri()


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("compared")
    data = load_dataset("digits", "test", 4)
    threat = calipers.ThreatModel("linf", (0.02, 0.1))
    view = calipers.compare(
        ["digits.small", "digits.robust"], data, threat, attacks="fgsm", verifiers="ibp", out=out / "runs"
    )
    return view.save(out / "page.html").as_uri()


def emulate(browser: Any, scheme: str = "light", width: int = 1280) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def colour(browser: Any, selector: str, key: str) -> str:
    script = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    return str(browser.execute_script(script, selector, key))


def visible(browser: Any, selector: str) -> bool:
    script = (
        "const e = document.querySelector(arguments[0]);"
        "const r = e.getBoundingClientRect(); return e.checkVisibility() && r.width > 50 && r.height > 20"
    )
    return bool(browser.execute_script(script, selector))


def test_it_opens_quietly_and_asks_for_nothing(browser: Any, address: str) -> None:
    emulate(browser)
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(address)
    browser.execute_script("document.querySelectorAll('details').forEach((e) => { e.open = true })")
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert address in asked
    assert [url for url in asked if url != address and not url.startswith("data:")] == []


def test_charts_tables_and_pictures_are_visible(browser: Any, address: str) -> None:
    emulate(browser)
    browser.get(address)
    for selector in (
        "h1",
        ".results",
        "#bracket-chart .wide svg",
        "#perturbation-chart .wide svg",
        "table.rates",
        "table.classes",
        ".gallery img",
        ".warnings",
        ".facts",
    ):
        assert visible(browser, selector), selector
    assert not visible(browser, "#bracket-chart .narrow svg")
    broken = "return [...document.images].filter((image) => !image.complete || image.naturalWidth == 0).length"
    assert browser.execute_script(broken) == 0


def test_a_narrow_screen_gets_its_own_charts_and_no_sideways_scrolling(browser: Any, address: str) -> None:
    emulate(browser, width=420)
    browser.get(address)
    assert visible(browser, "#bracket-chart .narrow svg")
    assert not visible(browser, "#bracket-chart .wide svg")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 420


@pytest.mark.parametrize("page", ["address", "compared"])
def test_cells_stand_below_their_heads(browser: Any, page: str, request: pytest.FixtureRequest) -> None:
    emulate(browser)
    browser.get(request.getfixturevalue(page))
    # Of tables without joined cells, and of the rows that have a cell for every column.
    script = """
        return [...document.querySelectorAll('table')].flatMap((table) => {
          const heads = [...(table.tHead?.rows[0].cells ?? [])];
          const rows = [...table.tBodies].flatMap((body) => [...body.rows]).filter((row) => row.checkVisibility());
          const whole = rows.filter((row) => row.cells.length === heads.length);
          return whole.flatMap((row) => [...row.cells].map((cell, i) =>
            Math.abs(cell.getBoundingClientRect().right - heads[i].getBoundingClientRect().right)));
        })"""
    apart = browser.execute_script(script)
    assert len(apart) > 20
    assert max(apart) < 1


@pytest.mark.parametrize("width", [420, 1280])
def test_bars_of_all_classes_and_radii_are_equally_long(browser: Any, address: str, width: int) -> None:
    emulate(browser, width=width)
    browser.get(address)
    script = "return [...document.querySelectorAll('table.classes .bar')].map((e) => e.getBoundingClientRect().width)"
    lengths = browser.execute_script(script)
    assert len(lengths) > 20
    assert max(lengths) - min(lengths) < 0.5
    assert min(lengths) > 60


def test_what_is_too_wide_scrolls_in_a_frame_of_its_own(browser: Any, address: str) -> None:
    emulate(browser, width=420)
    browser.get(address)
    browser.execute_script("document.querySelectorAll('details').forEach((e) => { e.open = true })")
    script = "return [...document.querySelectorAll('.scroll')].map((e) => [e.scrollWidth, e.clientWidth])"
    frames = browser.execute_script(script)
    assert any(inner > outer for inner, outer in frames)
    assert all(outer <= 420 for _, outer in frames)
    outside = (
        "return [...document.querySelectorAll('main *')].filter((e) => !e.closest('.scroll') && e.checkVisibility()"
        " && e.getBoundingClientRect().right > 421).length"
    )
    assert browser.execute_script(outside) == 0


def test_dark_mode_reaches_page_and_figures(browser: Any, address: str) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        emulate(browser, scheme)
        browser.get(address)
        seen[scheme] = (colour(browser, "body", "backgroundColor"), colour(browser, "#bracket-chart text", "fill"))
    assert seen["light"][0] != seen["dark"][0]
    assert seen["light"][1] != seen["dark"][1]


def test_tables_sort_on_demand(browser: Any, address: str) -> None:
    emulate(browser)
    browser.get(address)
    column = (
        "return [...document.querySelectorAll('table.classes tbody td:nth-child(2)')].map((e) => Number(e.innerText))"
    )
    browser.execute_script("document.querySelector('table.classes th:nth-child(2) [role=button]').click()")
    counts = browser.execute_script(column)
    assert counts == sorted(counts)
    browser.execute_script("document.querySelector('table.classes th:nth-child(2) [role=button]').click()")
    assert browser.execute_script(column) == sorted(counts, reverse=True)
    assert browser.get_log("browser") == []
