"""Alerts: by state, one in full, and what a person may do with it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import cached_queries, links, url_state
from dashboard.app_pages import alert_actions
from dashboard.filters import BOX_WIDTH, tell_empty_store
from dashboard.naming import count, device_names, metric_label, percent, share, utc
from dashboard.panels import finding, hint, note, show_table
from dashboard.plain_text import literal
from db.alert_life import ENDED, LIVE
from db.queries import AlertEventRow, AlertRow

STATE_COLOURS = {
    "open": "red",
    "acknowledged": "orange",
    "muted": "gray",
    "recovering": "blue",
    "resolved": "green",
    "accepted": "gray",
    "false_alarm": "violet",
}


def show() -> None:
    """Draw the page."""
    if not cached_queries.run_groups():
        tell_empty_store()
        return
    alerts = cached_queries.alerts()
    waiting = [alert for alert in alerts if alert.state == "open"]
    finding(f"{count(len(waiting), 'alert')} open" if waiting else "No alert is open")
    _precision(alerts)
    if not alerts:
        hint("`kswatch check` judges the newest runs and opens an alert where one cause made series worse.")
        return
    states = ["live", "ended", "all"]
    which = url_state.select(
        "State", "state", states, "live" if _any_live(alerts) else "all", width=BOX_WIDTH
    )
    wanted = {"live": LIVE, "ended": ENDED, "all": (*LIVE, *ENDED)}[which]
    shown = [alert for alert in alerts if alert.state in wanted]
    if not shown:
        note(f"No alert is {which}.")
        return
    names = device_names(cached_queries.devices())
    _table(shown, names)
    _one(shown, names)


def _any_live(alerts: list[AlertRow]) -> bool:
    return any(alert.state in LIVE for alert in alerts)


def _precision(alerts: list[AlertRow]) -> None:
    """How many of the decided alerts were true: what the detector is worth so far."""
    decided = [alert for alert in alerts if alert.state in ENDED]
    if decided:
        false = sum(alert.state == "false_alarm" for alert in decided)
        note(
            f"Of {count(len(decided), 'decided alert')} so far, {false} false: "
            f"precision {share(1 - false / len(decided))}."
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
    show_table(pd.DataFrame(rows))


def _one(alerts: list[AlertRow], names: dict[int, str]) -> None:
    alert = url_state.select(
        "One alert in full",
        "alert",
        alerts,
        show=lambda one: f"{one.id} · {one.title}",
        as_text=lambda one: str(one.id),
    )
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge(literal(alert.state.replace("_", " ")), color=STATE_COLOURS.get(alert.state, "gray"))  # type: ignore[arg-type]
            st.badge("confirmed" if alert.confirmed else "provisional", color="gray")
            st.markdown(f"**{literal(alert.title)}**")
        note(
            f"{names.get(alert.device_id)}: {alert.implementation} {alert.verdict}, "
            f"{metric_label(alert.metric)}, worst {percent(alert.worst_change)}; put down to {alert.cause}; "
            f"runs {alert.opened_run_id} to {alert.newest_run_id}."
        )
        _explanation(alert)
        _events(cached_queries.alert_events(alert.id))
        alert_actions.show_actions(alert)


def _explanation(alert: AlertRow) -> None:
    """Single facts become one table, lists of objects a table each, the cells the first."""
    told = {name: value for name, value in alert.explanation.items() if value not in (None, [], {})}
    cells = told.pop("cells", [])
    if cells:
        _cells(alert, pd.DataFrame(cells))
    facts = [(name, _as_text(value)) for name, value in told.items() if not _is_table(value)]
    show_table(pd.DataFrame(facts, columns=["what", "is"]).replace("_", " ", regex=True))
    for name, value in told.items():
        if _is_table(value):
            st.markdown(f"**{literal(name.replace('_', ' ').capitalize())}**")
            show_table(pd.DataFrame(value))
    good, bad = told.get("last_good_run"), told.get("first_bad_run")
    if good and bad:
        label = f"Compare run {good} with run {bad}"
        links.link("runs", label, icon=":material/compare_arrows:", view="compare", before=good, after=bad)


def _cells(alert: AlertRow, cells: pd.DataFrame) -> None:
    """The cells, the worst first; choosing a row opens its pattern."""
    shown = cells.copy()
    if "metric" in shown:
        shown["metric"] = shown["metric"].map(metric_label)
    for column in ("change", "change_low", "change_high"):
        if column in shown:
            shown[column] = shown[column].map(percent)
    chosen = show_table(
        shown.rename(columns=lambda name: name.replace("_", " ")),
        on_select="rerun",
        selection_mode="single-row",
        key=f"cells_of_{alert.id}",
    )
    hint("Choose a row to open its pattern.")
    if chosen.selection.rows:
        cell = cells.iloc[chosen.selection.rows[0]]
        device = next(one for one in cached_queries.devices() if one.id == alert.device_id)
        key = {name: cell[name] for name in ("pattern", "batch", "precision", "layout")}
        links.go_to("pattern", device=device.uuid, **key)


def _is_table(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _as_text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _events(events: list[AlertEventRow]) -> None:
    rows = [
        {
            "when": utc(event.at),
            "who": event.who,
            "what": event.action,
            "state": event.to_state,
            "reason": event.reason,
        }
        for event in events
    ]
    show_table(pd.DataFrame(rows))
