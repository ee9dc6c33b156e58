"""`kswatch report --html`: one page that needs nothing else."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from kswatch.dashboard.data.device_runs import SOURCES
from kswatch.dashboard.night import alert_markup, device_markup
from kswatch.dashboard.night.summary import read_night
from kswatch.dashboard.static_export import page as static_page
from kswatch.db.store import Store
from kswatch.services import JudgementLimits
from tests.dashboard.browser_rig import ANSWER_WITHIN_S, ROOT, patient_page
from tests.dashboard.simulated_store import NASTY, Plan, fill

ALLOWED = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "div", "span", "b", "a", "img"}
ALLOWED |= {"table", "thead", "tbody", "tr", "th", "td", "details", "summary", "code"}
REPOSITORY = "https://github.com/owner/name"
NOW = datetime(2026, 1, 8, 12, tzinfo=UTC)


class Tags(HTMLParser):
    """Every element, attribute and address of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.addresses: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.addresses |= {value or "" for name, value in attrs if name in ("src", "href")}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store.open(f"sqlite:///{tmp_path_factory.mktemp('static') / 'kswatch.db'}")
    fill(store, Plan(nights=4, patterns=2, regression_night=3, new_driver_night=3))
    return store


@pytest.fixture(scope="module")
def page(store: Store) -> str:
    return static_page.page(store, NOW, JudgementLimits(), REPOSITORY)


def test_the_page_loads_nothing_and_runs_nothing(page: str) -> None:
    found = Tags(page)
    assert found.tags <= ALLOWED
    assert not {name for name in found.attributes if name.startswith("on")}
    assert all(one.startswith(("data:image/svg+xml;base64,", f"{REPOSITORY}/")) for one in found.addresses)
    assert "url(" not in page and "@import" not in page
    assert len(page.encode()) < 500_000


def test_text_of_the_store_is_escaped(page: str) -> None:
    assert "<b>bold" not in page and "<script>window" not in page
    assert "&lt;b&gt;bold&lt;/b&gt; **stars**" in page


def test_the_page_is_made_of_the_parts_of_the_overview(page: str, store: Store) -> None:
    night = read_night(store)
    assert night is not None
    assert "<h1>Night of 8 Jan: 2 new alerts</h1>" in page
    for one in night.alerts.live:
        assert alert_markup.alert(one, REPOSITORY) in page
    assert device_markup.matrix(night.devices, JudgementLimits(), NOW) in page
    assert "9 hours ago · 2 of 2 devices reported" in page


def test_an_alert_has_its_commits_and_commands(page: str) -> None:
    assert page.count(f'since <a href="{REPOSITORY}/commit/') == 2
    assert page.count("last good <a") == 2
    assert "<code>kswatch alerts show 1</code> · <code>kswatch bisect --alert 1</code>" in page


def test_calm_devices_are_folded(tmp_path: Path) -> None:
    calm = Store.open(f"sqlite:///{tmp_path / 'kswatch.db'}")
    fill(calm, Plan(nights=4, patterns=2, samples=2))
    page = static_page.page(calm, NOW, JudgementLimits())
    assert "<h1>Night of 8 Jan: nothing new</h1>" in page
    assert page.count("<details>") == 1 and "<summary>Calm: 2 devices" in page
    assert "<h2>Alerts</h2>" not in page


def test_a_store_without_a_run_is_reported(own_url: str) -> None:
    page = static_page.page(Store.open(own_url), NOW, JudgementLimits())
    assert "No run has finished in this store yet" in page


def test_a_device_without_recent_nightly_runs_is_overdue(store: Store) -> None:
    night = read_night(store)
    assert night is not None
    limits = JudgementLimits()
    assert not any(one.is_overdue(limits, datetime.now(UTC)) for one in night.devices)  # simulated: never
    nightly = replace(night.devices[0], source=SOURCES[0])
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
        timeout=ANSWER_WITHIN_S,
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
    expect(seen.locator("p", has_text=NASTY[:40]).first).to_be_visible()
    assert seen.evaluate("document.documentElement.scrollWidth") <= width
    background = seen.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(18, 22, 28)")
    context.close()
