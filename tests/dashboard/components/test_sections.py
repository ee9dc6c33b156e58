"""Sections of a page: a choice in one draws it again on its own, and is kept in the URL."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from tests.dashboard.browser_rig import FAILURES, wait_until_drawn


def _page_with_a_section(outcome: str) -> None:
    import streamlit as st

    from kswatch.dashboard.components.sections import show_section
    from kswatch.errors import UsageError

    def show(text: str) -> None:
        if text == "refused":
            raise UsageError(text)
        st.write(text)

    show_section(show, outcome)


@pytest.mark.parametrize("outcome", ["shown", "refused"])
def test_a_section_on_its_own_shows_an_expected_failure_as_a_sentence(
    simulated_url: str, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    monkeypatch.setenv("KSWATCH_DATABASE_URL", simulated_url)
    page = AppTest.from_function(_page_with_a_section, args=(outcome,)).run()
    assert not page.exception
    shown = page.error if outcome == "refused" else page.markdown
    assert [one.value for one in shown] == [outcome]


@pytest.mark.slow
@pytest.mark.browser
def test_a_choice_in_a_section_changes_that_section_and_the_url(desk: Page, address: str) -> None:
    desk.goto(f"{address}/speedup?device=sim-h200-0000")
    wait_until_drawn(desk)
    chart = desk.locator(".st-key-chart_speedup_by_night")
    expect(chart).to_have_count(0)
    desk.get_by_role("radio", name="speedup", exact=True).click()
    expect(chart).to_be_visible()
    expect(desk).to_have_url(re.compile("heat=speedup"))
    assert "device=sim-h200-0000" in desk.url
    desk.reload()
    wait_until_drawn(desk)
    expect(chart).to_be_visible()
    assert desk.locator(FAILURES).count() == 0
