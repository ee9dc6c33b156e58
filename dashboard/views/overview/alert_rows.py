"""The alerts of the night, a row each, with what to do about it."""

from __future__ import annotations

import streamlit as st

from kswatch.dashboard.components import links
from kswatch.dashboard.components.acknowledge import show_acknowledge
from kswatch.dashboard.data.server_settings import repository_url
from kswatch.dashboard.formatting.labels import count
from kswatch.dashboard.night import alert_markup
from kswatch.dashboard.night.alerts import NightAlert, NightAlerts

MOST_ROWS = 5
WIDTHS = (5, 2)
"""Of an alert and of its actions, which stand below it on a phone."""


def show_alerts(alerts: NightAlerts) -> None:
    """Draw the worst of the alerts that wait for a user, and the number of the others."""
    waiting = [one for one in alerts.live if one.is_new or one.alert.state == "open"][:MOST_ROWS]
    for one in waiting:
        _row(one)
    if more := len(alerts.live) - len(waiting):
        label = f"{more:,} more" if waiting else count(more, "known alert")
        links.link("alerts", label, icon=":material/notifications:")


def _row(one: NightAlert) -> None:
    number = one.alert.id
    about, actions = st.columns(WIDTHS, vertical_alignment="center")
    with about:
        st.html(alert_markup.alert(one, repository_url()))
    with actions, st.container(horizontal=True, vertical_alignment="center", gap="small"):
        show_acknowledge(one.alert)
        good, bad = one.runs
        if good is not None:
            links.link("compare", "Compare", by="runs", before=good, after=bad)
        if one.bisect_command:
            with st.popover("Bisect", type="tertiary"):
                st.code(one.bisect_command, language=None)
        links.link("alerts", "Open", icon=":material/open_in_new:", alert=number)
