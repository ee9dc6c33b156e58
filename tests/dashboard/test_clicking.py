"""Clicks and keys on a chart: open the page of a point, download the PNG without a network."""

import re

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.dashboard.browser_rig import patient_page, wait_until_drawn

pytestmark = pytest.mark.browser


def chart(page: Page, name: str) -> Locator:
    found = page.locator(f".st-key-chart_{name}")
    found.scroll_into_view_if_needed()
    return found


@pytest.mark.slow
def test_a_click_on_a_point_opens_its_pattern_and_one_there_its_night(desk: Page, address: str) -> None:
    desk.goto(f"{address}/speedup?device=sim-h200-0000")
    wait_until_drawn(desk)
    chart(desk, "speedup_shape").locator(".scatterlayer .point").first.click(force=True)
    expect(desk).to_have_url(re.compile("/pattern.*pattern=.*batch=1024.*device=sim-h200-0000"))
    wait_until_drawn(desk)
    nights = chart(desk, "pattern_latency_ratio").locator(".scatterlayer .point")
    expect(nights).to_have_count(4)
    nights.nth(1).click(force=True)
    expect(desk).to_have_url(re.compile("night=3"))
    assert "device=sim-h200-0000" in desk.url


@pytest.mark.slow
def test_a_row_of_a_table_is_chosen_by_the_keyboard(desk: Page, address: str) -> None:
    desk.goto(f"{address}/compare?before=5&after=7&only_implementation=fused&cells=all")
    wait_until_drawn(desk)
    grid = desk.get_by_test_id("data-grid-canvas").first
    grid.scroll_into_view_if_needed()
    grid.focus()
    desk.keyboard.press("ArrowDown")
    desk.keyboard.press("Shift+Space")
    expect(desk).to_have_url(re.compile("/pattern.*pattern="))
    assert "device=" in desk.url


@pytest.mark.slow
def test_a_chart_downloads_as_png_by_the_keyboard_in_the_time_zone_of_the_viewer(
    browser: Browser, address: str
) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, timezone_id="Europe/Paris")
    page = patient_page(context)
    page.goto(f"{address}/speedup")
    wait_until_drawn(page)
    trend = chart(page, "speedup_trend")
    expect(trend.get_by_text("night (Europe/Paris)")).to_be_visible()
    button = trend.get_by_role("button", name=re.compile("png", re.IGNORECASE))
    with page.expect_download() as download:
        button.press("Enter")
    assert download.value.suggested_filename == "speedup_trend.png"
    assert download.value.path().read_bytes().startswith(b"\x89PNG")
    context.close()
