"""Alerts: the list by state, the details of one alert, and its actions."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from kswatch.dashboard.components import url_state
from kswatch.dashboard.components.filters import BOX_WIDTH, show_empty_store
from kswatch.dashboard.components.panels import finding, hint, note, show_choices
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import cause_label, count, device_names, metric_label, share
from kswatch.dashboard.views.alerts import actions, detail
from kswatch.db.alerts.lifecycle import ENDED, LIVE
from kswatch.db.queries.basic import AlertRow

FEWEST_REVIEWED = 10
"""Reviewed alerts that a precision needs."""

MOST_ALERTS = 200
"""The newest alerts in the list; a link opens any alert."""


def show() -> None:
    """Draw the page."""
    if not cached_queries.run_groups():
        show_empty_store()
        return
    counts = cached_queries.alert_counts()
    waiting = counts.get("open", 0)
    finding(f"{count(waiting, 'open alert')}" if waiting else "No open alerts")
    _precision()
    if not counts:
        hint(
            "`kswatch check` judges the newest runs and opens an alert for each likely cause of a regression."
        )
        return
    shown = _chosen_state(counts)
    devices = {device.id: device for device in cached_queries.devices()}
    names = device_names(list(devices.values()))
    if shown:
        _table(shown, names)
    alert = _chosen_alert(shown)
    if alert is None:
        return
    with st.container(border=True):
        device = devices[alert.device_id]
        detail.show_alert(alert, names[device.id], device.simulated)
        actions.show_actions(alert)


def _precision() -> None:
    """Draw the share of reviewed alerts that were real, once there are enough to judge by."""
    precision = cached_queries.alert_precision()
    reviewed = precision.real + precision.false_alarms
    if 0 < reviewed < FEWEST_REVIEWED:
        note(f"Alert precision: not enough reviewed alerts ({reviewed} of at least {FEWEST_REVIEWED}).")
    elif precision.share is not None:
        note(f"Alert precision: {share(precision.share)} ({precision.real} of {reviewed} reviewed alerts).")


def _chosen_state(counts: dict[str, int]) -> list[AlertRow]:
    """Draw the box of states; returns the newest alerts in the chosen state."""
    groups = {"live": LIVE, "ended": ENDED, "all": (*LIVE, *ENDED)}
    groups |= {state: (state,) for state in (*LIVE, *ENDED) if counts.get(state)}
    live = any(counts.get(state) for state in LIVE)
    state = url_state.select(
        "State",
        "state",
        list(groups),
        "live" if live else "all",
        lambda name: f"{name.replace('_', ' ')} ({sum(counts.get(state, 0) for state in groups[name])})",
        width=BOX_WIDTH,
    )
    shown = cached_queries.alerts(states=groups[state], limit=MOST_ALERTS)
    if not shown:
        note(f"No alert is {state.replace('_', ' ')}.")
    elif len(shown) == MOST_ALERTS:
        note(f"The newest {MOST_ALERTS} alerts.")
    return shown


def _chosen_alert(shown: list[AlertRow]) -> AlertRow | None:
    """Draw the box of alerts, with the alert of the URL whatever its state."""
    requested = url_state.requested("alert") or ""
    if requested.isdecimal() and int(requested) not in [alert.id for alert in shown]:
        shown = [*shown, *cached_queries.alerts(ids=(int(requested),))]
    if not shown:
        return None
    return url_state.select("Alert", "alert", shown, show=lambda alert: f"{alert.id} · {alert.title}")


def _table(alerts: list[AlertRow], names: dict[int, str]) -> None:
    rows = [
        {
            "alert": alert.id,
            "state": alert.state,
            "verdict": alert.verdict,
            "largest change": alert.worst_change,
            "title": alert.title,
            "device": names.get(alert.device_id, str(alert.device_id)),
            "likely cause": cause_label(alert.cause),
            "metric": metric_label(alert.metric),
            "confirmed": alert.confirmed,
            "assignee": alert.assigned_to,
            "since run": alert.opened_run_id,
        }
        for alert in alerts
    ]
    show_choices(pd.DataFrame(rows), "alert", {})
