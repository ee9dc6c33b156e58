"""Text that people, git and machines put into the store is shown as it was written, on every page."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import open_from_menu, page_script, running_dashboard, wait_until_drawn
from playwright.sync_api import Browser, expect
from simulated_store import NASTY, Plan, fill, fill_queue
from streamlit.testing.v1 import AppTest

from dashboard import connection
from dashboard.page_list import PAGES
from db import alert_life
from db.store import Store

MARKUP = """() => ({
    planted: window.planted ?? null,
    bold: [...document.querySelectorAll('b, strong')]
        .filter(one => /^(bold|stars)$/.test(one.textContent)).length,
    links: document.querySelectorAll("a[href^='javascript']").length,
    math: document.querySelectorAll('.katex').length,
    scripts: [...document.scripts].filter(one => one.textContent.includes('planted')).length,
})"""
NOTHING = {"planted": None, "bold": 0, "links": 0, "math": 0, "scripts": 0}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A dashboard on a store with markup wherever somebody writes freely."""
    url = f"sqlite:///{tmp_path_factory.mktemp('planted') / 'kswatch.db'}"
    store = Store.open(url)
    fill(store, Plan(nights=2, patterns=1, devices=("sim-a100",), regression_night=1, host=f"host {NASTY}"))
    fill_queue(store)
    alert_life.act(store, 1, "assign", f"who {NASTY}", f"why {NASTY}", 1, assigned_to=f"to {NASTY}")
    store.close()
    with running_dashboard(url) as at:
        yield at


@pytest.mark.slow
@pytest.mark.browser
def test_no_markup_of_the_store_is_rendered_and_no_script_runs(browser: Browser, planted: str) -> None:
    # without the browser's own protection: the pages alone must keep markup out
    context = browser.new_context(bypass_csp=True)
    page = context.new_page()
    page.goto(planted)
    for entry in PAGES:
        open_from_menu(page, entry)
        assert page.evaluate(MARKUP) == NOTHING, entry.path
    for choices in ("view=queue", "view=compare", "view=one&run=2"):
        page.goto(f"{planted}/runs?{choices}")
        wait_until_drawn(page)
        assert page.evaluate(MARKUP) == NOTHING, choices
    page.get_by_text("What it said of itself").click()
    expect(page.locator("code", has_text=NASTY)).to_be_visible()
    expect(page.locator("p", has_text=f"the cooling was serviced {NASTY}")).to_be_visible()
    assert page.evaluate(MARKUP) == NOTHING
    context.close()


@pytest.mark.slow
def test_pages_open_the_store_for_reading_and_only_acts_open_it_for_writing(
    own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every page is drawn while opening the store for writing is impossible."""
    fill(Store.open(own_url), Plan(nights=2, patterns=1, devices=("sim-a100",), regression_night=1))
    monkeypatch.setenv("KSWATCH_DATABASE_URL", own_url)

    def refused() -> None:
        raise AssertionError("a page opened the store for writing without an act")

    monkeypatch.setattr(connection, "writing_store", refused)
    for entry in PAGES:
        page = AppTest.from_function(page_script, args=(entry.path,), default_timeout=60).run()
        assert not page.exception, entry.path


def test_only_requests_and_alert_life_are_written_through() -> None:
    """Who opens the store for writing calls nothing else with it."""
    folder = Path(connection.__file__).parent
    writers = {
        path.name: path.read_text()
        for path in folder.rglob("*.py")
        if "with writing_store()" in path.read_text()
    }
    assert set(writers) == {"alert_actions.py", "request_queue.py", "sending.py"}
    for name, text in writers.items():
        for part in text.split("with writing_store() as store:")[1:]:
            called = part.strip().split("(")[0].removeprefix("return ")
            assert called in ("alert_life.act", "requests.ask", "requests.cancel"), (name, called)
    opened = [path.name for path in folder.rglob("*.py") if "Store.open(" in path.read_text()]
    assert sorted(opened) == ["commands.py", "connection.py"]
