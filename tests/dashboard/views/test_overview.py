"""The overview: its actions, its links, its first screen with 1, 8 and 64 devices, and its refresh."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from kswatch.dashboard.data.server_settings import REPOSITORY_URL
from kswatch.dashboard.views.overview.alert_rows import MOST_ROWS
from kswatch.db.alerts import lifecycle
from kswatch.db.alerts.precision import alert_precision
from kswatch.db.queries import basic as queries
from kswatch.db.queries.verdicts import TOO_LITTLE_HISTORY
from kswatch.db.schema.tables import Verdict
from kswatch.db.store import Store
from tests.dashboard.browser_rig import html_of, patient_page, running_dashboard, wait_until_drawn
from tests.dashboard.simulated_store import FIRST_NIGHT, Plan, fill

Opened = Callable[..., AppTest]

DESK: ViewportSize = {"width": 1400, "height": 900}
PHONE: ViewportSize = {"width": 400, "height": 900}
FIRST_SCREEN = 700
NIGHTS = 4
PLAN = Plan(nights=NIGHTS, patterns=6, precisions=("fp32",), layouts=("batch_first",), samples=2)
REPOSITORY = "https://github.com/owner/name"


def fill_devices(url: str, devices: int, regressed: int) -> Store:
    """Four nights of many devices; on the last one some of them are slower."""
    names = tuple(f"sim-h200-{number:02}" for number in range(devices))
    store = Store.open(url)
    for own, night in ((names[:regressed], NIGHTS - 1), (names[regressed:], None)):
        if own:
            fill(store, replace(PLAN, devices=own, regression_night=night))
    return store


@contextmanager
def opened_overview(browser: Browser, url: str, size: ViewportSize, scheme: str = "light") -> Iterator[Page]:
    """The overview of a store in a browser of its own."""
    with running_dashboard(url, **{REPOSITORY_URL: REPOSITORY}) as at:
        context = browser.new_context(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
        page = patient_page(context)
        page.goto(at)
        wait_until_drawn(page)
        yield page
        context.close()


def bottom(page: Page, text: str) -> float:
    """The lower edge of the last element with this text, in pixels from the top."""
    box = page.get_by_text(text).last.bounding_box()
    assert box is not None, text
    return box["y"] + box["height"]


@pytest.mark.browser
@pytest.mark.parametrize(
    ("devices", "regressed"),
    [
        pytest.param(1, 1, marks=pytest.mark.slow),
        (8, 6),
        pytest.param(64, 9, marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ],
)
def test_the_line_the_worst_alerts_and_the_number_of_the_others_are_on_the_first_screen(
    browser: Browser, own_url: str, devices: int, regressed: int
) -> None:
    fill_devices(own_url, devices, regressed).close()
    shown, more = min(regressed, MOST_ROWS), max(regressed - MOST_ROWS, 0)
    with opened_overview(browser, own_url, DESK) as page:
        expect(
            page.get_by_role("heading", name=re.compile(f"Night of 8 Jan: {regressed} new alert"))
        ).to_be_visible()
        expect(page.locator(".ks-alert")).to_have_count(shown)
        assert bottom(page, "fused slower: latency") <= FIRST_SCREEN
        if more:
            assert bottom(page, f"{more} more") <= FIRST_SCREEN
        if devices > regressed:
            calm = page.get_by_text(re.compile(f"^Calm: {devices - regressed} devices, "))
            expect(calm).to_have_count(1)
            names = page.locator(".ks b").filter(has_text="Simulated H200")
            expect(names).to_have_count(regressed)
            calm.click()
            expect(names).to_have_count(devices)


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_a_phone_shows_an_alert_whole_and_its_actions_below(
    browser: Browser, own_url: str, scheme: str
) -> None:
    fill_devices(own_url, 2, 1).close()
    with opened_overview(browser, own_url, PHONE, scheme) as page:
        page.wait_for_function(
            "width => document.querySelector('[data-testid=stMain]').scrollWidth <= width", arg=PHONE["width"]
        )
        for name in ("Acknowledge", "Bisect"):
            box = page.get_by_role("button", name=name).bounding_box()
            assert box and box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]
        text, line = (page.locator(f".ks-alert {part}").first.bounding_box() for part in ("div", "img"))
        assert text and line and line["y"] >= text["y"] + text["height"], "the nights are below the text"
        for box in (text, line):
            assert box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]


@pytest.mark.slow
@pytest.mark.browser
def test_a_night_appears_by_itself(browser: Browser, own_url: str) -> None:
    store = fill_devices(own_url, 1, 0)
    with opened_overview(browser, own_url, DESK) as page:
        expect(page.get_by_role("heading", name="Night of 8 Jan: nothing new")).to_be_visible()
        night = FIRST_NIGHT + timedelta(days=NIGHTS)
        slower = replace(PLAN, nights=1, devices=("sim-h200-00",), first_night=night, regression_night=0)
        fill(store, slower)
        expect(page.get_by_role("heading", name="Night of 9 Jan: 1 new alert")).to_be_visible()
        expect(page.locator(".ks-alert")).to_have_count(1)


@pytest.mark.browser
def test_an_alert_is_acknowledged_bisected_and_opened_where_it_is_shown(
    browser: Browser, own_url: str
) -> None:
    store = fill_devices(own_url, 1, 1)
    with opened_overview(browser, own_url, DESK) as page:
        bad = queries.runs(store, limit=1)[0].revision
        assert bad is not None
        commit = page.locator(".ks-alert a", has_text=bad.commit[:12]).first
        expect(commit).to_have_attribute("href", f"{REPOSITORY}/commit/{bad.commit[:12]}")
        expect(commit).to_have_attribute("target", "_blank")
        page.get_by_role("button", name="Bisect").click()
        expect(page.get_by_text("kswatch bisect --alert 1")).to_be_visible()
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Acknowledge").click()
        page.get_by_label("Your name").fill("alice")
        page.get_by_role("button", name="Acknowledge this alert").click()
        expect(page.get_by_role("heading", name=re.compile("1 new alert"))).to_be_visible()
        expect(page.get_by_role("button", name="Acknowledge")).to_have_count(0)
        assert queries.alert(store, 1).state == "acknowledged"
        wait_until_drawn(page)  # what the acknowledged alert replaces is still there for a moment
        page.get_by_role("link", name="Open").click()
        page.wait_for_url("**/alerts?*alert=1*")


def test_a_calm_night_has_no_row_and_no_colour(own_url: str, opened: Opened) -> None:
    fill_devices(own_url, 2, 0).close()
    page = opened("overview", own_url)
    assert page.subheader[0].value.replace("\\", "") == "Night of 8 Jan: nothing new"
    assert "ks-bad" not in html_of(page) and "ks-alert" not in html_of(page)
    assert [one.label.partition(",")[0] for one in page.expander] == ["Calm\\: 2 devices"]


def test_each_link_of_a_device_opens_an_alert_of_its_own(own_url: str, opened: Opened) -> None:
    store = fill_devices(own_url, 3, 2)
    page = opened("overview", own_url)
    links = [one.proto for one in page.get("page_link") if "live alert" in one.proto.label]
    asked = [int(found[1]) for one in links if (found := re.search(r"alert=(\d+)", one.query_string))]
    by_alert = {one.id: one.device_id for one in queries.alerts(store)}
    names = {one.id: one.model for one in queries.devices(store)}
    shown = re.findall(r"<p><b>(Simulated [^<]+)</b>", html_of(page))
    assert [names[by_alert[alert]] for alert in asked] == shown
    assert len(asked) == 2


def test_too_little_history_is_not_shown_as_a_quiet_night(own_url: str, opened: Opened) -> None:
    store = fill_devices(own_url, 1, 0)
    with store.writing() as session:
        session.execute(update(Verdict).values(reason=f"{TOO_LITTLE_HISTORY}: 0 comparable runs"))
    title = opened("overview", own_url).subheader[0].value.replace("\\", "")
    assert title == "Night of 8 Jan: too few nights yet to judge 48 series"


def test_cells_that_are_no_longer_measured_are_listed(own_url: str, opened: Opened) -> None:
    store = Store.open(own_url)
    next_night = FIRST_NIGHT + timedelta(days=1)
    fill(store, Plan(nights=1, patterns=2, devices=("sim-a100",)))
    fill(store, Plan(nights=1, patterns=1, devices=("sim-a100",), first_night=next_night))
    page = opened("overview", own_url)
    fold = next(one for one in page.expander if one.label.endswith("sources stopped reporting"))
    assert "▲ 30 not measured" in html_of(page)
    page.session_state["missing"] = True
    (missing,) = page.run().dataframe
    assert set(missing.value["status"]) == {"not measured"}
    assert "fused on Simulated A100" in set(missing.value["source"])
    assert fold.label == f"{len(missing.value)} sources stopped reporting"


def test_an_alert_that_closed_by_itself_is_not_decided_on_the_page_or_for_the_command(
    own_url: str, opened: Opened
) -> None:
    store = fill_devices(own_url, 1, 1)
    provisional = lifecycle.NewAlert(1, NIGHTS, "slower", "code", "latency_ms", "bmm", "bmm slower", 0.05)
    lifecycle.dismiss(store, lifecycle.open_alert(store, provisional), "not seen again")
    lifecycle.act(store, 1, "false_alarm", "alice", "the cooler was blocked", queries.alert(store, 1).version)
    found = alert_precision(store)
    assert (found.real, found.false_alarms, found.dismissed, found.share) == (0, 1, 1, 0.0)
    captions = [one.value.replace("\\", "") for one in opened("alerts", own_url).caption]
    assert any("not enough reviewed alerts (1 of at least 10)" in one for one in captions)
