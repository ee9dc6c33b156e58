"""Alerts: a list by what is to be done, beside the details of one alert with its actions."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from kswatch.dashboard.components import url_state
from kswatch.dashboard.components.filters import show_empty_store
from kswatch.dashboard.components.panels import finding, hint, note, show_table
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import cause_label, count, device_names, share
from kswatch.dashboard.views.alerts import actions, detail, several
from kswatch.db.alerts.lifecycle import ENDED
from kswatch.db.queries.basic import AlertRow

FEWEST_REVIEWED = 10
"""Reviewed alerts that a precision needs."""

MOST_ALERTS = 200
"""The newest alerts in the list; a link opens any alert."""

LIST_HEIGHT = 420
"""Pixels of the list, which scrolls, so that on a phone the alert below it is near."""

TABS: dict[str, tuple[str, ...]] = {
    "untriaged": ("open",),
    "acknowledged": ("acknowledged", "muted", "recovering"),
    "ended": ENDED,
}
"""Tabs of the list, with the states of their alerts."""


def show() -> None:
    """Draw the page."""
    if not cached_queries.run_groups():
        show_empty_store()
        return
    counts = cached_queries.alert_counts()
    numbers = {tab: sum(counts.get(state, 0) for state in states) for tab, states in TABS.items()}
    finding(
        f"{count(numbers['untriaged'], 'untriaged alert')}, {numbers['acknowledged']} acknowledged"
        if numbers["untriaged"]
        else "No untriaged alerts"
    )
    _precision()
    if not counts:
        hint(
            "`kswatch check` judges the newest runs and opens an alert for each likely cause of a regression."
        )
        return
    requested = _requested_alert()
    tab = _choose_tab(numbers, requested)
    shown = cached_queries.alerts(states=TABS[tab], limit=MOST_ALERTS)
    devices = {device.id: device for device in cached_queries.devices()}
    names = device_names(list(devices.values()))
    left, right = st.columns([2, 3], gap="medium")
    with left:
        several.show_undo()
        _list(shown, names, tab)
    if not shown:
        return
    if requested is not None and requested.state in TABS[tab] and requested not in shown:
        shown = [*shown, requested]  # older than the list
    with right:
        alert = url_state.select("Alert", "alert", shown, show=lambda one: f"{one.id} · {one.title}")
        with st.container(border=True):
            detail.show_title(alert, devices[alert.device_id].simulated)
            actions.show_actions(alert)
            detail.show_alert(alert, names[alert.device_id])


def _precision() -> None:
    """Draw the share of reviewed alerts that were real, once there are enough to judge by."""
    precision = cached_queries.alert_precision()
    reviewed = precision.real + precision.false_alarms
    if 0 < reviewed < FEWEST_REVIEWED:
        note(f"Alert precision: not enough reviewed alerts ({reviewed} of at least {FEWEST_REVIEWED}).")
    elif precision.share is not None:
        note(f"Alert precision: {share(precision.share)} ({precision.real} of {reviewed} reviewed alerts).")


def _requested_alert() -> AlertRow | None:
    """The alert that a link or a choice names, whatever its state."""
    requested = url_state.requested_number("alert")
    if requested is None:
        return None
    return next(iter(cached_queries.alerts(ids=(requested,))), None)


def _choose_tab(numbers: dict[str, int], requested: AlertRow | None) -> str:
    """Draw the tabs; by default that of the requested alert, else the first that holds any."""
    default = next((tab for tab, number in numbers.items() if number), "untriaged")
    if requested is not None:
        default = next(tab for tab, states in TABS.items() if requested.state in states)
    if "alert" in st.query_params and "tab" not in st.query_params:  # a link, not the last choice
        url_state.forget("tab")
    titles = {tab: f"{tab} ({number})" for tab, number in numbers.items()}
    return url_state.segments("Alerts", "tab", titles, default)


def _list(shown: list[AlertRow], names: dict[int, str], tab: str) -> None:
    """Draw the list: one chosen row opens its alert, several are acknowledged at once."""
    if not shown:
        note(f"No alert is {tab}.")
        return
    if len(shown) == MOST_ALERTS:
        note(f"The newest {MOST_ALERTS} alerts.")
    rows = [
        {
            "alert": alert.id,
            "largest change": alert.worst_change,
            "title": alert.title,
            "likely cause": cause_label(alert.cause),
            "device": names.get(alert.device_id, str(alert.device_id)),
            "state": alert.state.replace("_", " "),
            "confirmed": alert.confirmed,
            "assignee": alert.assigned_to,
            "since run": alert.opened_run_id,
        }
        for alert in shown
    ]
    key = f"alerts_{tab}"
    table = show_table(
        pd.DataFrame(rows),
        LIST_HEIGHT,
        on_select=lambda: _open_chosen(key, shown),
        selection_mode="multi-row",
        column_config={"title": st.column_config.TextColumn(width=260)},
        key=key,
    )
    chosen = [shown[row] for row in table.selection.rows if row < len(shown)]
    hint("Choose a row to open its alert, several to acknowledge them: by check boxes, or Shift and Space.")
    if len(chosen) > 1:
        several.show_acknowledgement(chosen)


def _open_chosen(key: str, shown: list[AlertRow]) -> None:
    rows = st.session_state[key].selection.rows
    if len(rows) == 1:
        url_state.remember("alert", str(shown[rows[0]].id))
