"""`kswatch report --html`: one page that needs nothing else."""

import re
import subprocess
import sys
from base64 import b64decode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from kswatch.dashboard.data.device_runs import SOURCES
from kswatch.dashboard.static_export import page as static_page
from kswatch.dashboard.static_export.data import read_overview
from kswatch.dashboard.static_export.markup import sparkline, sparkline_image
from kswatch.db.store import Store
from kswatch.services import JudgementLimits
from tests.dashboard.browser_rig import ROOT, patient_page
from tests.dashboard.simulated_store import NASTY, Plan, fill

ALLOWED = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "div", "section", "span"}
ALLOWED |= {"table", "thead", "tbody", "tr", "th", "td"}
DRAWN = {"svg", "polyline", "circle", "line"}


class Tags(HTMLParser):
    """Every element and attribute of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store.open(f"sqlite:///{tmp_path_factory.mktemp('static') / 'kswatch.db'}")
    fill(store, Plan(nights=4, patterns=2, regression_night=3, new_driver_night=3))
    return store


@pytest.fixture(scope="module")
def page(store: Store) -> str:
    return static_page.page(read_overview(store, datetime.now(UTC), JudgementLimits()))


def test_the_page_loads_nothing_and_runs_nothing(page: str) -> None:
    found = Tags(page)
    assert found.tags <= ALLOWED | DRAWN
    assert not {name for name in found.attributes if name.startswith("on") or name in ("src", "href")}
    assert "url(" not in page and "@import" not in page
    assert len(page.encode()) < 500_000


def test_text_of_the_store_is_escaped(page: str) -> None:
    assert "<b>" not in page and "<script>window" not in page
    assert "&lt;b&gt;bold&lt;/b&gt; **stars**" in page


def test_the_page_shows_the_planted_regression_and_its_alert(page: str) -> None:
    assert re.search(
        r"<h1>Night of 8 Jan: 4 regressions \(4 new\), 0 improvements, 128 series; 2 open alerts</h1>", page
    )
    assert page.count('<span class="slower">slower</span>') == 16
    assert "driver 580.65 → 590.10" in page
    assert page.count("<polyline") == 2 * 2 * 4
    assert '<span class="badge">simulated</span>' in page


def test_a_store_without_a_run_is_reported(own_url: str) -> None:
    page = static_page.page(read_overview(Store.open(own_url), datetime.now(UTC), JudgementLimits()))
    assert "No run has finished in this store yet" in page


def test_a_sparkline_fills_its_box_and_few_values_have_none() -> None:
    assert sparkline([1.0, 2.0]) == ""
    drawn = re.search(r'points="([^"]+)"', sparkline([1.0, 2.0, 1.0]))
    assert drawn and drawn[1] == "3.0,33.0 90.0,3.0 177.0,33.0"
    assert "NaN" not in sparkline([1.5, 1.5, 1.5])


def test_a_sparkline_image_holds_the_same_title_and_line() -> None:
    assert sparkline_image([1.0, 2.0]) == ""
    image = sparkline_image([1.0, 2.0, 1.0])
    assert 'alt="3 nights, first 1.00×, last 1.00×, range 1.00× to 2.00×"' in image
    drawn = b64decode(image.partition("base64,")[2].partition('"')[0]).decode()
    assert re.search('points="[^"]+"', drawn)[0] == re.search('points="[^"]+"', sparkline([1.0, 2.0, 1.0]))[0]


def test_a_device_without_recent_nightly_runs_is_overdue(store: Store) -> None:
    overview = read_overview(store, datetime.now(UTC), JudgementLimits())
    limits = overview.limits
    assert not any(one.is_overdue(limits, overview.now) for one in overview.devices)  # simulated: never
    nightly = overview.devices[0]
    nightly = replace(nightly, source=SOURCES[0])
    assert nightly.is_overdue(limits, nightly.newest.started_at + timedelta(hours=61))
    assert not nightly.is_overdue(limits, nightly.newest.started_at + timedelta(hours=59))


def test_the_command_writes_the_page_without_streamlit(store: Store, tmp_path: Path) -> None:
    script = (
        "import sys; sys.argv = ['kswatch', 'report', '--html', 'night.html']\n"
        "from kswatch import cli\n"
        "try: cli.main()\n"
        "finally: assert 'streamlit' not in sys.modules and 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"KSWATCH_DATABASE_URL": str(store.engine.url), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("wrote night.html, ")
    assert (tmp_path / "night.html").read_text().startswith("<!doctype html>")


@pytest.mark.browser
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 400)])
def test_the_page_fits_and_follows_the_readers_colours(
    browser: Browser, page: str, tmp_path: Path, scheme: str, width: int
) -> None:
    (tmp_path / "night.html").write_text(page)
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})  # type: ignore[arg-type]
    seen = patient_page(context)
    seen.goto((tmp_path / "night.html").as_uri())
    expect(seen.locator("p", has_text=NASTY).first).to_be_visible()
    assert seen.evaluate("document.documentElement.scrollWidth") <= width
    background = seen.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(18, 22, 28)")
    context.close()
