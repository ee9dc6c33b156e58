"""The alerts page: tabs, several alerts at once and the way back, the step, the list beside the alert."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect
from streamlit.testing.v1 import AppTest

from kswatch.db.alerts import lifecycle
from kswatch.db.queries import basic as queries
from kswatch.db.store import Store
from tests.dashboard.browser_rig import patient_page, running_dashboard, wait_until_drawn
from tests.dashboard.simulated_store import NASTY, Plan, fill

NIGHTS, BAD_NIGHT = 5, 3
PLAN = Plan(
    nights=NIGHTS, patterns=1, devices=("sim-a100",), precisions=("fp32",), regression_night=BAD_NIGHT
)
SEEN_AGAIN = NIGHTS - 1 - BAD_NIGHT
LEVEL, VALUE = 0.0025, 0.0028


@pytest.fixture
def stepped(own_url: str) -> Store:
    """Nights with a regression of fused, and three open alerts; the newest has a step and was seen again."""
    store = Store.open(own_url)
    run_ids = fill(store, PLAN)
    bad = run_ids[BAD_NIGHT]
    for number in range(2):
        new = _alert(bad, f"alert {number} {NASTY}")
        alert_id = lifecycle.open_alert(store, new)
    for run_id in run_ids[BAD_NIGHT + 1 :]:
        lifecycle.record_recurrence(store, alert_id, _alert(run_id, f"alert 1 {NASTY}", bad))
    return store


def _alert(run_id: int, title: str, bad: int | None = None) -> lifecycle.NewAlert:
    first_bad = bad or run_id
    cell = {
        **{"pattern": "6,64,64,1", "batch": 1024, "precision": "fp32", "layout": "batch_first"},
        **{"implementation": "fused", "metric": "latency_ms", "level": LEVEL, "value": VALUE},
        **{"change": 0.12, "change_low": 0.11, "change_high": 0.13},
        "reason": "all 4 series of fp32: 6.0 % worse",
    }
    explanation = {"cells": [cell], "first_bad_run": first_bad, "last_good_run": first_bad - 1}
    return lifecycle.NewAlert(
        1, run_id, "slower", "code", "latency_ms", "fused", title, 0.12, explanation, confirmed=True
    )


def texts(page: AppTest) -> str:
    shown = [*page.subheader, *page.markdown, *page.caption, *page.error]
    return "\n".join(str(one.value) for one in shown).replace("\\", "")


def states(store: Store) -> dict[int, str]:
    return {alert.id: alert.state for alert in queries.alerts(store)}


def test_the_tabs_count_what_is_untriaged_acknowledged_and_ended(
    stepped: Store, own_url: str, opened: Callable[..., AppTest]
) -> None:
    lifecycle.act(stepped, 1, "acknowledge", "me", None, 1)
    lifecycle.act(stepped, 2, "resolve", "me", None, 1)
    page = opened("alerts", own_url)
    tabs = page.segmented_control(key="choice_tab")
    assert tabs.options == ["untriaged (1)", "acknowledged (1)", "ended (1)"]
    assert page.selectbox(key="choice_alert").options == [f"3 · alert 1 {NASTY}"]
    tabs.set_value("ended").run()
    assert page.selectbox(key="choice_alert").value == "2"
    assert not page.warning


def test_a_step_has_its_level_its_interval_and_its_suspects(
    stepped: Store, own_url: str, opened: Callable[..., AppTest]
) -> None:
    page = opened("alerts", own_url, alert="3")
    (figure,) = page.get("plotly_chart")
    drawn = figure.proto.spec
    assert "level before 0.0025" in drawn and "after 0.0028" in drawn
    assert "simulated change 3" in drawn and "simulated change 2 " not in drawn, "the one suspect"
    assert "gives the change of all the series" in texts(page)


def test_an_alert_is_folded_below_how_often_and_when_it_was_seen(
    stepped: Store, own_url: str, opened: Callable[..., AppTest]
) -> None:
    page = opened("alerts", own_url, alert="3")
    (history,) = page.expander
    assert history.label == f"Seen {1 + SEEN_AGAIN} times, last just now"


def test_what_accepting_does_is_said_before_it_is_done(
    stepped: Store, own_url: str, opened: Callable[..., AppTest]
) -> None:
    page = opened("alerts", own_url, alert="3")
    page.segmented_control(key="alert_action").set_value("accept").run()
    assert page.button(key="act_3").label == "Accept"
    assert f"Makes the values since run {BAD_NIGHT + 1} the new level" in texts(page)


def test_one_acknowledged_alert_is_taken_back(
    stepped: Store, own_url: str, opened: Callable[..., AppTest]
) -> None:
    page = opened("alerts", own_url, alert="2")
    page.button(key="act_2").click().run()
    assert states(stepped) == {3: "open", 2: "acknowledged", 1: "open"}
    assert "Acknowledged alert 2." in texts(page)
    page.button(key="undo_acknowledge").click().run()
    assert states(stepped) == {3: "open", 2: "open", 1: "open"}
    assert [event.action for event in queries.alert_events(stepped, 2)][-2:] == [
        "acknowledge",
        "unacknowledge",
    ]


def test_an_acknowledgement_that_another_user_has_changed_is_not_taken_back(
    stepped: Store, own_url: str, opened: Callable[..., AppTest]
) -> None:
    page = opened("alerts", own_url, alert="2")
    page.button(key="act_2").click().run()
    lifecycle.act(stepped, 2, "resolve", "another", None, queries.alert(stepped, 2).version)
    page.button(key="undo_acknowledge").click().run()
    assert states(stepped)[2] == "resolved"
    assert "has changed since it was shown" in texts(page)


@pytest.fixture
def stepped_address(stepped: Store, own_url: str, tmp_path: Path) -> Iterator[str]:
    with running_dashboard(own_url) as at:
        yield at


@pytest.mark.slow
@pytest.mark.browser
def test_several_alerts_are_acknowledged_at_once_and_taken_back(
    desk: Page, stepped: Store, stepped_address: str
) -> None:
    desk.goto(f"{stepped_address}/alerts")
    wait_until_drawn(desk)
    grid = desk.get_by_test_id("data-grid-canvas").first
    grid.focus()
    for row in range(3):
        desk.keyboard.press("ArrowDown") if row else desk.keyboard.press("Home")
        desk.keyboard.press("Shift+Space")
        wait_until_drawn(desk)
    desk.get_by_role("button", name="Acknowledge 3 alerts").click()
    expect(desk.get_by_text("Acknowledged alert 3, alert 2, alert 1.")).to_be_visible()
    assert set(states(stepped).values()) == {"acknowledged"}
    desk.get_by_role("button", name="Undo").click()
    expect(desk.get_by_text("Acknowledged alert")).to_have_count(0)
    assert set(states(stepped).values()) == {"open"}


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_list_stands_beside_the_alert_and_on_a_phone_above_it(
    browser: Browser, stepped_address: str, scheme: Literal["light", "dark"]
) -> None:
    for width in (1400, 400):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page = patient_page(context)
        page.goto(f"{stepped_address}/alerts?alert=3")
        wait_until_drawn(page)
        rows = page.get_by_test_id("stDataFrame").first.bounding_box()
        action = page.get_by_role("button", name="Acknowledge").first.bounding_box()
        page.get_by_role("radio", name="acknowledge", exact=True).click()  # the chosen one again
        wait_until_drawn(page)
        expect(page.get_by_role("button", name="Acknowledge")).to_be_visible()
        step = page.locator(".st-key-chart_alert_3_step").bounding_box()
        assert rows and action and step
        is_beside = rows["x"] + rows["width"] <= action["x"]
        assert is_beside == (width == 1400)
        assert is_beside or rows["y"] + rows["height"] <= action["y"]
        assert action["y"] < step["y"], "actions above the chart"
        assert step["x"] + step["width"] <= width
        context.close()
