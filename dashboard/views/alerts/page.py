"""Alerts: by state, one in full, and what a person may do with it."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from kswatch.dashboard.components import url_state
from kswatch.dashboard.components.filters import BOX_WIDTH, tell_empty_store
from kswatch.dashboard.components.panels import finding, hint, note, show_table
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import count, device_names, metric_label, percent, share
from kswatch.dashboard.views.alerts import actions as alert_actions
from kswatch.dashboard.views.alerts import detail as alert_depth
from kswatch.db.alerts.lifecycle import ENDED, LIVE
from kswatch.db.queries.basic import AlertRow

MOST_ALERTS = 200
"""Of a list, the newest; a link opens any."""


def show() -> None:
    """Draw the page."""
    if not cached_queries.run_groups():
        tell_empty_store()
        return
    counts = cached_queries.alert_counts()
    waiting = counts.get("open", 0)
    finding(f"{count(waiting, 'alert')} open" if waiting else "No alert is open")
    _precision(counts)
    if not counts:
        hint("`kswatch check` judges the newest runs and opens an alert where one cause made series worse.")
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
        alert_depth.show_alert(alert, names[device.id], device.simulated)
        alert_actions.show_actions(alert)


def _precision(counts: dict[str, int]) -> None:
    """How many of the decided alerts were true: what the detector is worth so far."""
    decided, false = sum(counts.get(state, 0) for state in ENDED), counts.get("false_alarm", 0)
    if decided:
        note(
            f"Of {count(decided, 'decided alert')} so far, {false} false: "
            f"precision {share(1 - false / decided)}."
        )


def _chosen_state(counts: dict[str, int]) -> list[AlertRow]:
    """Draw the box of states; gives the newest alerts in the chosen one."""
    groups = {"live": LIVE, "ended": ENDED, "all": (*LIVE, *ENDED)}
    groups |= {state: (state,) for state in (*LIVE, *ENDED) if counts.get(state)}
    live = any(counts.get(state) for state in LIVE)
    which = url_state.select(
        "State",
        "state",
        list(groups),
        "live" if live else "all",
        lambda name: f"{name.replace('_', ' ')} ({sum(counts.get(one, 0) for one in groups[name])})",
        width=BOX_WIDTH,
    )
    shown = cached_queries.alerts(states=groups[which], limit=MOST_ALERTS)
    if not shown:
        note(f"No alert is {which.replace('_', ' ')}.")
    elif len(shown) == MOST_ALERTS:
        note(f"The newest {MOST_ALERTS}.")
    return shown


def _chosen_alert(shown: list[AlertRow]) -> AlertRow | None:
    """Draw the box of alerts; one that a link names is there whatever its state."""
    wanted = url_state.wanted("alert") or ""
    if wanted.isdecimal() and int(wanted) not in [alert.id for alert in shown]:
        shown = [*shown, *cached_queries.alerts_named(int(wanted))]
    if not shown:
        return None
    return url_state.select(
        "One alert in full",
        "alert",
        shown,
        show=lambda one: f"{one.id} · {one.title}",
        as_text=lambda one: str(one.id),
    )


def _table(alerts: list[AlertRow], names: dict[int, str]) -> None:
    rows = [
        {
            "alert": alert.id,
            "state": alert.state,
            "verdict": alert.verdict,
            "worst": percent(alert.worst_change),
            "title": alert.title,
            "device": names.get(alert.device_id, str(alert.device_id)),
            "cause": alert.cause,
            "metric": metric_label(alert.metric),
            "confirmed": alert.confirmed,
            "assigned to": alert.assigned_to,
            "since run": alert.opened_run_id,
        }
        for alert in alerts
    ]
    show_table(
        pd.DataFrame(rows),
        on_select=partial(_opened, [alert.id for alert in alerts]),
        selection_mode="single-row",
        key="alert_table",
    )


def _opened(alert_ids: list[int]) -> None:
    """Show the alert whose row was chosen."""
    rows = st.session_state["alert_table"].selection.rows
    if rows:
        url_state.remember("alert", str(alert_ids[rows[0]]))
