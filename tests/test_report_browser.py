"""What a person sees, in a real browser: the live dashboard while a search runs, and the report without a network.

Needs Chromium (``apt-get install chromium``); where CI is set a missing browser is a failure, elsewhere a skip.
Screenshots are left in build/screenshots.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from report.figures import FIGURES
from tests.dashboards import dashboard_of
from tests.studies_for_tests import add_confirmation, add_fidelity
from tests.test_scripts import ROOT, command, search

SHOTS = ROOT / "build" / "screenshots"
pytestmark = pytest.mark.xdist_group("browser")  # one process: one browser, one search
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


def browser_program() -> str:
    """The path of Chromium; skips without one, and fails in CI."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        found = shutil.which(name)
        if found:
            return found
    reason = "expected Chromium, found none; install it: apt-get install chromium"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = browser_program()
    from playwright.sync_api import sync_playwright

    SHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        # without a sandbox: inside a container root has none, and every page is our own
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every part."""
    results = tmp_path_factory.mktemp("report")
    search(results, "--study", "s", "--objective", "tests.objectives_for_tests:WITH_RUNGS", "--trials", "10")
    add_confirmation(results / "s")
    add_fidelity(results / "s")
    done = command("report", "--study", "s", "--results", results)
    assert done.returncode == 0, done.stderr
    return results / "s" / "report.html"


def read_offline(browser: Any, report: Path, **how: Any) -> tuple[Any, list[str]]:
    """The report from disk; every request that leaves the file is a complaint."""
    context = browser.new_context(offline=True, **{"viewport": DESK, **how})
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    page.on("console", lambda message: asked.append(message.text))
    page.on("pageerror", lambda error: asked.append(str(error)))
    page.goto(report.as_uri())
    return page, [line for line in asked if line != report.as_uri() and not line.startswith("data:")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["phone", "desk"])
def test_the_report_is_drawn_without_a_network(browser: Any, report: Path, scheme: str, size: str) -> None:
    viewport = PHONE if size == "phone" else DESK
    page, complaints = read_offline(browser, report, viewport=viewport, color_scheme=scheme)
    page.screenshot(path=SHOTS / f"report-{size}-{scheme}.png", full_page=True)
    assert complaints == []
    figures = page.locator("figure svg")
    assert figures.count() == len(FIGURES) - 1  # all networks cost the same: a sentence says so
    for figure in figures.all():
        box = figure.bounding_box()
        assert min(box["width"], box["height"]) > 150
        assert figure.locator("path, use").count() > 10
        letters = figure.locator("text").first
        assert float(letters.evaluate("e => e.getBoundingClientRect().height")) > 8  # can be read on a phone
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    if size == "desk":
        clipped = "e => e.scrollWidth > e.clientWidth + 1 ? e.innerText : ''"
        assert [text for text in (table.evaluate(clipped) for table in page.locator(".scroll").all()) if text] == []
    ink = figures.first.locator("text").first.evaluate("e => getComputedStyle(e).fill")
    assert (sum(map(int, ink[4:-1].split(","))) > 384) == (scheme == "dark")
    page.context.close()


def serious_issues(page: Any) -> list[Any]:
    """What axe finds, but what is minor."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response
    assert len(found["passes"]) > 20
    serious = [item for item in found["violations"] if item["impact"] in ("serious", "critical")]
    return [(item["id"], item["nodes"][0]["html"]) for item in serious]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_issue(browser: Any, report: Path, scheme: str) -> None:
    page, _ = read_offline(browser, report, viewport=PHONE, color_scheme=scheme)
    assert serious_issues(page) == []
    page.context.close()


def test_the_first_screen_of_a_phone_holds_the_answer(browser: Any, report: Path) -> None:
    page, _ = read_offline(browser, report, viewport=PHONE)
    assert page.locator(".lines dt").all_inner_texts() == [
        "Constants", "Made for", "How sure", "Against the paper", "Next",
    ]  # fmt: skip
    assert all(line.bounding_box()["y"] < PHONE["height"] for line in page.locator(".lines dt").all())
    page.context.close()


def test_a_phone_keeps_rule_lead_and_verdict_in_sight(browser: Any, report: Path) -> None:
    page, _ = read_offline(browser, report, viewport=PHONE)
    for name in ("baselines", "confirmation"):
        table = page.locator(f"section[aria-labelledby={name}] .scroll")
        right = table.evaluate("e => e.getBoundingClientRect().right")
        for cell in table.locator("tr > :nth-child(3)").all():
            assert cell.evaluate("e => { const r = document.createRange(); r.selectNodeContents(e); "
                                 "return r.getBoundingClientRect().right }") <= right  # fmt: skip
        table.evaluate("e => { e.scrollLeft = 500 }")
        first = table.locator("tbody th").first
        assert first.evaluate("e => e.getBoundingClientRect().left") >= 0  # the rule stays when the table is moved
    page.context.close()


def test_marks_say_which_network_they_are(browser: Any, report: Path) -> None:
    page, _ = read_offline(browser, report)
    said = page.locator("section[aria-labelledby=triangle] .tip > title").all_text_contents()
    networks = [text for text in said if "alpha" in text and "trial" in text]
    assert len(networks) >= 8
    assert any(text.startswith("the paper's constants; accuracy 0.") for text in networks)
    page.context.close()


def test_the_report_is_used_with_a_keyboard(browser: Any, report: Path) -> None:
    page, _ = read_offline(browser, report, viewport=PHONE)
    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    assert focused.inner_text() == "Skip to the answer"
    assert focused.bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
    wide = page.locator(".scroll").first
    wide.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(600)
    assert wide.evaluate("e => e.scrollLeft") > 0
    page.context.close()


def test_the_report_prints_dark_on_white(browser: Any, report: Path) -> None:
    page, _ = read_offline(browser, report, color_scheme="dark", viewport={"width": 720, "height": 1000})
    page.pdf(path=SHOTS / "report.pdf", format="A4", margin=dict.fromkeys(("top", "right", "bottom", "left"), "14mm"))
    page.emulate_media(media="print")
    page.screenshot(path=SHOTS / "report-print.png", full_page=True)
    ink = page.locator("h1").evaluate("e => getComputedStyle(e).color")
    assert sum(map(int, ink[4:-1].split(","))) < 150
    assert not page.locator("nav").is_visible()
    clipped = "e => e.scrollWidth > e.clientWidth + 1"
    assert not any(table.evaluate(clipped) for table in page.locator(".scroll").all())
    page.context.close()


@pytest.fixture(scope="module")
def searching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The results folder of a search that runs, slowly, as long as the tests look at it."""
    results = tmp_path_factory.mktemp("browser")
    words = [sys.executable, "-m", "scripts.run_search", "--results", str(results), "--study", "s"]
    words += ["--objective", "tests.objectives_for_tests:SLOW", "--trials", "400"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment)
    for line in running.stdout:
        if "[10/" in line:  # enough networks for a surface
            break
    yield results
    running.terminate()
    running.communicate(timeout=400)


@pytest.fixture(scope="module")
def address(searching: Path) -> Iterator[str]:
    """Where the running search is shown."""
    with dashboard_of(searching) as address:
        yield address


def opened(browser: Any, address: str, **how: Any) -> tuple[Any, list[str]]:
    """A page, and what it complains of in the console."""
    page = browser.new_page(**{"viewport": DESK, **how})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    return page, said


def test_the_dashboard_renews_itself_and_leaves_the_reader_in_place(browser: Any, address: str) -> None:
    page, said = opened(browser, address, viewport=PHONE)
    page.locator("[data-part=trials] tbody tr").first.wait_for(timeout=60_000)
    assert page.locator(".lines dt").count() == 5
    assert "Wait: the search runs" in page.locator(".lines").inner_text()
    counts = page.locator(".counts")
    before = counts.inner_text()
    page.locator("#baselines").scroll_into_view_if_needed()
    place = page.locator("#baselines").bounding_box()["y"]
    page.evaluate("window.same = true")
    page.locator(".counts", has_not_text=before).wait_for(timeout=120_000)
    assert page.evaluate("window.same")  # the page was not loaded again
    assert abs(page.locator("#baselines").bounding_box()["y"] - place) < 3
    assert serious_issues(page) == []
    page.screenshot(path=SHOTS / "dashboard-phone.png", full_page=True)
    assert said == []


def test_the_dashboard_says_when_it_is_not_renewed(browser: Any, address: str) -> None:
    page, _ = opened(browser, address)
    page.locator(".lines").wait_for(timeout=60_000)
    page.screenshot(path=SHOTS / "dashboard.png", full_page=True)
    page.route("**/report/*", lambda route: route.abort())
    page.get_by_text("the dashboard does not answer").wait_for(timeout=90_000)


@pytest.fixture(scope="module")
def finished(report: Path) -> Iterator[str]:
    """Where a study that has ended is shown; Optuna's plots of one that runs begin anew with every trial."""
    with dashboard_of(report.parent.parent) as address:
        yield address


def test_optunas_dashboard_is_one_link_away(browser: Any, finished: str) -> None:
    page, said = opened(browser, finished)
    page.get_by_role("link", name="Optuna's dashboard").click()
    page.locator("#param-importances, [id*=importance]").first.wait_for(timeout=60_000)
    page.goto(f"{page.url.split('/dashboard')[0]}/dashboard/studies/1/smartSelection")
    page.locator("th", has_text="Param alpha").wait_for(timeout=90_000)
    columns = {text.splitlines()[0] for text in page.locator("th").all_inner_texts() if text}
    assert {"Param alpha", "Param beta", "Param gamma"} <= columns
    names = ("share_depth", "share_width", "share_resolution", "product")
    assert {f"UserAttribute {name}" for name in names} <= columns
    page.screenshot(path=SHOTS / "dashboard-columns.png")
    assert said == []


def test_plots_of_optuna_are_over_the_constants(browser: Any, finished: str) -> None:
    constants = {"alpha", "beta", "gamma"}
    address = f"{finished.split('/report')[0]}/dashboard/studies/1"
    page, said = opened(browser, address)
    importance = page.locator("#param-importances, [id*=importance]").first
    importance.locator(".yaxislayer-above .ytick").nth(2).wait_for(timeout=90_000)
    assert {text.strip() for text in importance.locator(".ytick").all_text_contents()} == constants
    page.goto(f"{address}/analytics")
    page.locator("[id*=slice] .scatterlayer .point").first.wait_for(timeout=90_000)
    assert page.locator("[id*=slice] .xtitle").text_content() == "Param alpha"
    page.locator("[id*=contour] .contourlayer").first.wait_for(timeout=90_000)
    titles = {page.locator(f"[id*=contour] .{axis}title").text_content() for axis in ("x", "y")}
    assert titles == {"alpha", "beta"}
    page.screenshot(path=SHOTS / "dashboard-plots.png", full_page=True)
    page.goto(f"{address}/smartSelection")
    page.locator(".parcoords").first.wait_for(timeout=90_000)
    labels = {text.removeprefix("Param ") for text in page.locator(".parcoords .axis-title").all_text_contents()}
    assert constants <= labels
    page.screenshot(path=SHOTS / "dashboard-parallel.png")
    assert said == []
