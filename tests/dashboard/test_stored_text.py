"""Text that people, git and machines put into the store is shown as written, on every page."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select
from streamlit.testing.v1 import AppTest

from kswatch.dashboard.data import store as connection
from kswatch.dashboard.navigation import PAGES
from kswatch.db.alerts import lifecycle
from kswatch.db.schema.tables import Counter, Measurement, Resource
from kswatch.db.store import Store
from tests.dashboard.browser_rig import (
    DRAWN_WITHIN_S,
    FAILURES,
    open_from_menu,
    page_script,
    patient_page,
    running_dashboard,
    wait_until_drawn,
)
from tests.dashboard.data.simulated_gates import fill_gates
from tests.dashboard.data.simulated_queue import fill_queue
from tests.dashboard.planted_text import plant
from tests.dashboard.simulated_store import NASTY, Plan, fill

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
def planted_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with markup in every text that is not the program's own choice of words."""
    url = f"sqlite:///{tmp_path_factory.mktemp('planted') / 'kswatch.db'}"
    store = Store.open(url)
    fill(store, Plan(nights=3, patterns=1, devices=("sim-a100",), regression_night=2, new_driver_night=1))
    fill_queue(store)
    fill_gates(store)
    lifecycle.act(store, 1, "assign", "a user", "knows the kernel", 1, assigned_to="a user")
    with store.writing() as session:
        fused = select(Measurement).where(Measurement.run_id == 3, Measurement.code_hash.is_not(None))
        cell = session.scalars(fused.limit(1)).one()
        code = {"code_hash": cell.code_hash, "kernel": "product", "architecture": "sm_90"}
        session.add(Resource(**code, family="x", instructions={"HMMA": 8}))
        session.add(Counter(run_id=3, cell_id=cell.cell_id, name="bytes", reason="refused", unit="B"))
    assert plant(store) > 70
    store.close()
    return url


@pytest.fixture(scope="module")
def planted(planted_url: str) -> Iterator[str]:
    """A dashboard on that store."""
    with running_dashboard(planted_url) as at:
        yield at


LINKED_VIEWS = ("runs?view=queue", "runs?view=one&run=3", "compare?by=revisions")
"""Besides the pages of the menu."""


@pytest.mark.slow
@pytest.mark.browser
def test_no_markup_of_the_store_is_rendered_and_no_script_runs(browser: Browser, planted: str) -> None:
    # without the browser's own protection: the pages alone must keep markup out
    context = browser.new_context(bypass_csp=True, viewport={"width": 1280, "height": 900})
    page = patient_page(context)
    page.goto(planted)
    for entry in PAGES:
        open_from_menu(page, entry)
        assert_all_is_plain(page, entry.path)
    for where in LINKED_VIEWS:
        page.goto(f"{planted}/{where}")
        wait_until_drawn(page)
        assert_all_is_plain(page, where)
    context.close()


def assert_all_is_plain(page: Page, where: str) -> None:
    """Unfold and hover over whatever there is; none of it is markup, and nothing fails."""
    for fold in page.locator("[data-testid=stExpander] summary").all():
        fold.click()
    hover_over_points(page)
    assert page.evaluate(MARKUP) == NOTHING, where
    assert page.locator(FAILURES).count() == 0, where


def hover_over_points(page: Page) -> None:
    """Show the tooltip of each chart's last point, which Plotly would render as markup."""
    for chart in page.locator("[data-testid=stPlotlyChart]").all():
        chart.scroll_into_view_if_needed()
        points = chart.locator(".scatterlayer .point")
        if points.count():
            points.last.hover(force=True)


@pytest.mark.slow
@pytest.mark.browser
def test_stored_text_is_shown_letter_by_letter(desk: Page, planted: str) -> None:
    desk.goto(f"{planted}/runs?view=one&run=3")
    wait_until_drawn(desk)
    expect(desk.locator("p", has_text=f"the cooling was serviced {NASTY}")).to_be_visible()
    expect(desk.locator("p", has_text=f"simulated change 2 {NASTY}").first).to_be_visible()
    desk.get_by_text("Log", exact=True).click()
    expect(desk.locator("code", has_text=NASTY)).to_be_visible()
    desk.goto(f"{planted}/alerts?alert=1")
    wait_until_drawn(desk)
    expect(desk.locator("strong", has_text=NASTY).first).to_be_visible()
    desk.goto(f"{planted}/runs?view=queue")
    wait_until_drawn(desk)
    expect(desk.locator("p", has_text=f"asked twice {NASTY}").first).to_be_visible()
    assert desk.evaluate(MARKUP) == NOTHING


@pytest.mark.slow
def test_no_page_fails_on_markup_or_renders_it(planted_url: str, opened: Callable[..., AppTest]) -> None:
    for entry in PAGES:
        page = opened(entry.path, planted_url)
        assert not page.error, entry.path
        elements = [*page.markdown, *page.caption, *page.subheader, *page.warning]
        assert not [one.value for one in elements if "<b>bold" in str(one.value)], entry.path


@pytest.mark.slow
def test_pages_open_the_store_read_only_and_only_actions_open_it_for_writing(
    own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every page is drawn while opening the store for writing is impossible."""
    fill(Store.open(own_url), Plan(nights=2, patterns=1, devices=("sim-a100",), regression_night=1))
    monkeypatch.setenv("KSWATCH_DATABASE_URL", own_url)

    def refused() -> None:
        raise AssertionError("a page opened the store for writing without an action")

    monkeypatch.setattr(connection, "writing_store", refused)
    for entry in PAGES:
        page = AppTest.from_function(page_script, args=(entry.path,), default_timeout=DRAWN_WITHIN_S).run()
        assert not page.exception, entry.path


def calls_on_writing_store(tree: ast.Module) -> Iterator[str]:
    """The functions that a module calls with a store that it opened for writing, or on it."""
    for block in ast.walk(tree):
        if isinstance(block, ast.With) and ast.unparse(block.items[0].context_expr) == "writing_store()":
            name = ast.unparse(block.items[0].optional_vars)
            for call in (one for one in ast.walk(block) if isinstance(one, ast.Call)):
                called = ast.unparse(call.func)
                if called.startswith(f"{name}.") or name in map(ast.unparse, call.args):
                    yield called


def test_pages_write_only_requests_and_alert_actions() -> None:
    """A page that opens the store for writing calls nothing else with it."""
    folder = Path(connection.__file__).resolve().parents[1]
    writers = {
        path.name: path.read_text()
        for path in folder.rglob("*.py")
        if "with writing_store()" in path.read_text()
    }
    assert set(writers) == {"acknowledge.py", "actions.py", "queue.py", "several.py", "submit.py"}
    for name, text in writers.items():
        called = set(calls_on_writing_store(ast.parse(text)))
        assert called and called <= {"lifecycle.act", "requests.submit", "requests.cancel"}, (name, called)
    opened = [path.name for path in folder.rglob("*.py") if "Store.open(" in path.read_text()]
    assert sorted(opened) == ["cli.py", "store.py"]
