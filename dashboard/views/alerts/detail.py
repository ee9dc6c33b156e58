"""The details of one alert: values before and after, other differences, suspects, history."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import streamlit as st

from kswatch.dashboard.components import code_links, links, timezone
from kswatch.dashboard.components.panels import choose_row, note, origin_badge, show_table
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import (
    age,
    cause_label,
    count,
    literal,
    metric_label,
    percent,
    utc,
)
from kswatch.dashboard.views.alerts import steps
from kswatch.dashboard.views.alerts.differences import show_differences
from kswatch.db.metrics import METRIC_BY_NAME
from kswatch.db.queries.basic import AlertEventRow, AlertRow

STATE_COLOURS = {
    "open": "red",
    "acknowledged": "orange",
    "muted": "gray",
    "recovering": "blue",
    "resolved": "green",
    "accepted": "gray",
    "false_alarm": "violet",
}
MOST_PATTERNS = 12
SEEN = ("opened", "seen again", "confirmed")
"""Events of nights that show the change."""
SHOWN_IN_SECTIONS = (
    *("differences", "canary_change", "revisions"),
    *("first_bad_run", "last_good_run", "problems"),
)
"""Facts of an explanation that the title, the suspects and the differences state."""
OF_ALL = "all "
"""The beginning of a reason that was found in several series together."""


def show_title(alert: AlertRow, is_simulated: bool) -> None:
    """Draw the title of an alert with its state."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        origin_badge("simulated" if is_simulated else "measured")
        st.badge(literal(alert.state.replace("_", " ")), color=STATE_COLOURS.get(alert.state, "gray"))  # type: ignore[arg-type]
        st.badge("confirmed" if alert.confirmed else "provisional", color="gray")
        st.markdown(f"**{literal(alert.title)}**")
    if alert.muted_until and alert.state == "muted":
        note(f"Muted until {timezone.local(alert.muted_until)}.", utc(alert.muted_until))


def show_alert(alert: AlertRow, device_name: str) -> None:
    """Draw one alert below its title: the step, its series, the evidence, the suspects, the history."""
    note(
        f"{device_name}: {alert.implementation} {alert.verdict}, "
        f"{metric_label(alert.metric)}, largest change {percent(alert.worst_change)}; "
        f"likely cause: {cause_label(alert.cause)}; "
        f"runs {alert.opened_run_id} to {alert.newest_run_id}."
    )
    facts = {name: value for name, value in alert.explanation.items() if value not in (None, [], {})}
    cells = facts.pop("cells", [])
    steps.show_step(alert, cells)
    show_differences(alert.explanation)
    if changes := facts.pop("environment_changes", []):
        st.markdown("**The environment changed, too**")
        show_table(pd.DataFrame(changes))
    _suspects(alert, facts)
    _cells(alert, cells)
    _patterns(facts.pop("patterns", []))
    _facts({name: value for name, value in facts.items() if name not in SHOWN_IN_SECTIONS})
    _events(cached_queries.alert_events(alert.id))


def _cells(alert: AlertRow, cells: list[dict[str, object]]) -> None:
    """Draw the values before and after, the largest change first; choosing a row opens its pattern."""
    if not cells:
        return
    frame = pd.DataFrame(cells)
    shown = frame.copy()
    for column in ("level", "value"):
        if column in shown and "metric" in shown:
            shown[column] = [
                _with_unit(value, str(metric))
                for value, metric in zip(shown[column], shown["metric"], strict=True)
            ]
    if "metric" in shown:
        shown["metric"] = shown["metric"].map(metric_label)
    names = {"level": "before", "value": "after"}
    st.markdown("**Before and after**")
    if "reason" in frame and frame["reason"].astype(str).str.startswith(OF_ALL).any():
        note(
            "The change is that of one series against its level; a reason “all n series” gives the change "
            "of all the series that it was judged with."
        )
    table = shown.rename(columns=names).rename(columns=lambda name: name.replace("_", " "))
    place = choose_row(table, f"cells_of_{alert.id}", "to open its pattern")
    if place is not None:
        _open(alert, frame.iloc[place])


def _with_unit(value: object, metric: str) -> str | None:
    if not isinstance(value, (int, float)) or value != value:
        return None
    unit = METRIC_BY_NAME[metric].unit if metric in METRIC_BY_NAME else ""
    return f"{value:.4g} {unit}".strip()


def _open(alert: AlertRow, cell: pd.Series) -> None:
    device = next(device for device in cached_queries.devices() if device.id == alert.device_id)
    key = {name: cell[name] for name in ("pattern", "batch", "precision", "layout") if name in cell}
    links.go_to("pattern", device=device.uuid, **key)


def _patterns(patterns: list[str]) -> None:
    if patterns:
        more = f" and {len(patterns) - MOST_PATTERNS} more" * (len(patterns) > MOST_PATTERNS)
        named = ", ".join(f"({pattern})" for pattern in patterns[:MOST_PATTERNS])
        note(f"{count(len(patterns), 'pattern')}: {named}{more}")


def _suspects(alert: AlertRow, facts: dict[str, object]) -> None:
    """Draw the suspects of the detector, else every revision from the last good to the first bad run."""
    good, bad = facts.get("last_good_run"), facts.get("first_bad_run") or alert.opened_run_id
    suspects = facts.pop("suspects", None)
    if _is_table(suspects):
        st.markdown("**Suspects**")
        show_table(pd.DataFrame(suspects))
    elif isinstance(good, int) and isinstance(bad, int):
        found = cached_queries.revisions_between(alert.device_id, good, bad)
        st.markdown("**Suspects: revisions measured since the last good run**")
        commits, columns = code_links.table_links([(one.commit, one.commit) for one in found])
        rows = [
            {
                "commit": commit,
                "subject": (revision.subject or "")
                + (" (with uncommitted changes)" if revision.dirty else ""),
                "committed": timezone.local(revision.committed_at) if revision.committed_at else None,
                "first measured in run": revision.first_run_id,
            }
            for commit, revision in zip(commits, found, strict=True)
        ]
        if rows:
            show_table(pd.DataFrame(rows), column_config=columns)
        else:
            note("No revision is recorded for those runs.")
    if good and bad:
        label = f"Compare run {good} with run {bad}"
        links.link("compare", label, icon=":material/compare_arrows:", by="runs", before=good, after=bad)


def _facts(facts: dict[str, object]) -> None:
    """Draw single facts as one table, and each list of objects as a table of its own."""
    single = [(name, _as_text(value)) for name, value in facts.items() if not _is_table(value)]
    if single:
        show_table(pd.DataFrame(single, columns=["property", "value"]).replace("_", " ", regex=True))
    for name, value in facts.items():
        if _is_table(value):
            st.markdown(f"**{literal(name.replace('_', ' ').capitalize())}**")
            show_table(pd.DataFrame(value))


def _is_table(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _as_text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _events(events: list[AlertEventRow]) -> None:
    """Draw the events of an alert, folded below how often and when it was last seen."""
    seen = [event for event in events if event.action in SEEN]
    title = "History"
    if seen:
        title = f"Seen {count(len(seen), 'time')}, last {age(seen[-1].at, datetime.now(UTC))}"
    rows = [
        {
            "time": timezone.local(event.at),
            "name": event.who,
            "action": event.action,
            "state": event.to_state,
            "reason": event.reason,
        }
        for event in events
    ]
    with st.expander(title):
        show_table(pd.DataFrame(rows))
