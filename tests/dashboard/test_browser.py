"""Every page in a real Chromium, and the flows that only a browser can show."""

import re

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect
from sqlalchemy import update

from kswatch.dashboard.navigation import PAGES
from kswatch.db.queries import basic as queries
from kswatch.db.request_queue import requests
from kswatch.db.schema.tables import Alert
from kswatch.db.store import Store
from tests.dashboard.browser_rig import (
    FAILURES,
    OF_EMPTY_PAGES,
    open_from_menu,
    patient_page,
    running_dashboard,
    wait_until_drawn,
)
from tests.dashboard.simulated_store import NASTY, Plan, fill

pytestmark = pytest.mark.browser

PATHS = [entry.path for entry in PAGES[1:]]
DESK: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 400, "height": 900}
PHONE_MENU = "[data-testid=stSidebarNavLink]"
BACKGROUND = "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
FITS = "width => document.querySelector('[data-testid=stMain]').scrollWidth <= width"


def walk(page: Page, size: ViewportSize) -> None:
    """Every page from the menu, which a phone folds away: none raises, each has its headline and fits."""
    for entry in PAGES:
        open_from_menu(page, entry)
        assert page.locator(FAILURES).count() == 0, entry.path
        assert page.locator("h3").count() >= 1, entry.path
        page.set_viewport_size(size)
        # charts follow a new size a frame later; what never fits times out and fails
        page.wait_for_function(FITS, arg=size["width"], timeout=30_000)
        page.set_viewport_size(DESK)
        # the links of a phone's menu are still there for a moment, to be replaced by those of a desk
        page.locator(PHONE_MENU).first.wait_for(state="detached")


@pytest.mark.slow
def test_every_page_of_a_full_store_fits_a_phone_and_raises_nothing(desk: Page, address: str) -> None:
    desk.goto(address)
    walk(desk, PHONE)
    assert desk.viewport_size == DESK


@pytest.mark.slow
def test_every_page_of_a_full_store_fits_a_desk_in_the_dark(browser: Browser, address: str) -> None:
    context = browser.new_context(viewport=DESK, color_scheme="dark")
    page = patient_page(context)
    page.goto(address)
    walk(page, DESK)
    background = page.evaluate(BACKGROUND)
    assert max(map(int, re.findall(r"\d+", background)[:3])) < 60
    context.close()


@pytest.mark.slow
def test_every_page_of_an_empty_store_shows_the_command_to_run(desk: Page, empty_address: str) -> None:
    desk.goto(empty_address)
    for entry in PAGES:
        open_from_menu(desk, entry)
        assert desk.locator(FAILURES).count() == 0, entry.path
        command = OF_EMPTY_PAGES.get(entry.path, "kswatch nightly")
        expect(desk.locator("code", has_text=command).first).to_be_visible()


@pytest.mark.parametrize(
    "paths", [("alerts", "speedup"), pytest.param(tuple(PATHS), marks=pytest.mark.slow)], ids=["two", "every"]
)
def test_a_page_adds_one_entry_to_the_history_and_names_its_tab_and_one_back_returns(
    desk: Page, address: str, paths: tuple[str, ...]
) -> None:
    desk.goto(address)
    wait_until_drawn(desk)
    entries = desk.evaluate("history.length")
    for entry in PAGES[1:]:
        if entry.path in paths:
            open_from_menu(desk, entry)
            expect(desk).to_have_title(f"{entry.title} – kswatch")
            assert desk.evaluate("history.length") == entries + 1, entry.path
            desk.go_back()
            expect(desk).to_have_title(f"{PAGES[0].title} – kswatch")
            assert desk.url.rstrip("/") == address, entry.path
    wait_until_drawn(desk)
    desk.get_by_role("link", name="Open").first.click()
    expect(desk).to_have_title("Alerts – kswatch")
    wait_until_drawn(desk)
    assert desk.evaluate("history.length") == entries + 1, "a link has one entry, too"


def test_choosing_the_chosen_action_again_leaves_its_form(desk: Page, address: str) -> None:
    desk.goto(f"{address}/alerts?alert=1")
    wait_until_drawn(desk)
    chosen = desk.get_by_role("radio", name="acknowledge", exact=True)
    for _ in range(2):
        chosen.click()
        wait_until_drawn(desk)
        expect(desk.get_by_role("button", name="Acknowledge", exact=True)).to_be_visible()
        assert chosen.get_attribute("aria-checked") == "true"


def test_a_link_opens_its_choices_whose_figures_download_and_whose_points_the_keyboard_opens(
    desk: Page, address: str
) -> None:
    desk.goto(f"{address}/speedup?device=sim-h200-0000&precision=bf16&layout=batch_last")
    wait_until_drawn(desk)
    expect(desk.get_by_text("Simulated H200, bf16, batch last")).to_be_visible()
    with desk.expect_download() as download:
        desk.get_by_role("button", name="CSV").nth(1).click()  # after that of the trend
    lines = download.value.path().read_text().splitlines()
    assert lines[0].startswith("problem,speedup,speedup_low,speedup_high")
    assert len(lines) == 5
    desk.get_by_role("button", name="Points").nth(1).press("Enter")
    box = desk.get_by_role("combobox", name="Point")
    expect(box).to_be_visible()
    box.press_sequentially("2,48")
    box.press("Enter")
    expect(desk).to_have_url(re.compile("/pattern.*pattern=2%2C48%2C192%2C1"))
    for choice in ("precision=bf16", "layout=batch_last", "device=sim-h200-0000"):
        assert choice in desk.url


@pytest.mark.slow
def test_a_requested_run_shows_its_progress_until_it_is_cancelled(desk: Page, own_url: str) -> None:
    with running_dashboard(own_url) as at:
        desk.goto(f"{at}/ask?pattern=6,64,64,1&batch=1024")
        wait_until_drawn(desk)
        desk.get_by_label("Your name").fill("a test")
        desk.get_by_label("Reason").fill(NASTY)
        desk.get_by_label("Reason").press("Enter")
        wait_until_drawn(desk)
        desk.get_by_role("button", name="Request this run").click()
        expect(desk.get_by_text("1 queued")).to_be_visible()
        expect(desk.get_by_text(NASTY)).to_be_visible()
        (asked,) = queries.requests(Store.open(own_url))
        assert (asked.suite, asked.device, asked.asked_by, asked.why) == ("ad_hoc", "cpu", "a test", NASTY)
        assert asked.arguments == {"pattern": ["6,64,64,1"], "batch": [1024], "budget": "60m"}
        store = Store.open(own_url)
        requests.take(store, asked.id)
        requests.record_progress(store, asked.id, 3, 16, 75.0)
        expect(desk.get_by_text("3 of 16 cells, 1.2 min left")).to_be_visible()
        desk.get_by_role("button", name="Cancel").click()
        expect(desk.get_by_text("Stops at the next problem.")).to_be_visible()
        requests.finish(store, asked.id, "cancelled")
        expect(desk.get_by_text("The queue is empty")).to_be_visible()


@pytest.mark.slow
def test_a_page_that_fails_unexpectedly_shows_a_sentence_and_the_others_still_open(
    desk: Page, own_url: str
) -> None:
    store = Store.open(own_url)
    fill(store, Plan(nights=2, patterns=1, devices=("sim-a100",), regression_night=1))
    with store.writing() as session:
        session.execute(update(Alert).values(explanation=["no object"]))
    with running_dashboard(own_url) as at:
        desk.goto(f"{at}/alerts")
        wait_until_drawn(desk)
        expect(desk.locator(FAILURES)).to_have_text(re.compile("This page failed .AttributeError.: a defect"))
        open_from_menu(desk, next(entry for entry in PAGES if entry.path == "speedup"))
        assert desk.locator(FAILURES).count() == 0
