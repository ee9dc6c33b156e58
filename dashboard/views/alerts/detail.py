"""One alert in full: what moved, from what to what, what else differs, who is suspected, what was done."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from kswatch.dashboard.components import links
from kswatch.dashboard.components import timezone as viewer
from kswatch.dashboard.components.panels import choose_row, note, origin_badge, show_table
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import count, metric_label, percent, utc
from kswatch.dashboard.formatting.markdown_escape import literal
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
MOST_PATTERNS_NAMED = 12


def show_alert(alert: AlertRow, device_name: str, is_simulated: bool) -> None:
    """Draw one alert, all but what may be done with it."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        origin_badge("simulated" if is_simulated else "measured")
        st.badge(literal(alert.state.replace("_", " ")), color=STATE_COLOURS.get(alert.state, "gray"))  # type: ignore[arg-type]
        st.badge("confirmed" if alert.confirmed else "provisional", color="gray")
        st.markdown(f"**{literal(alert.title)}**")
    note(
        f"{device_name}: {alert.implementation} {alert.verdict}, "
        f"{metric_label(alert.metric)}, worst {percent(alert.worst_change)}; put down to {alert.cause}; "
        f"runs {alert.opened_run_id} to {alert.newest_run_id}."
    )
    if alert.muted_until and alert.state == "muted":
        note(f"Muted until {viewer.local(alert.muted_until)}.", utc(alert.muted_until))
    told = {name: value for name, value in alert.explanation.items() if value not in (None, [], {})}
    _cells(alert, told.pop("cells", []))
    _patterns(told.pop("patterns", []))
    _differences(told.pop("environment_changes", []))
    _suspects(alert, told)
    _facts(told)
    _events(cached_queries.alert_events(alert.id))


def _cells(alert: AlertRow, cells: list[dict[str, object]]) -> None:
    """Before and after, the worst first; choosing a row opens its pattern."""
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
    for column in ("change", "change_low", "change_high"):
        if column in shown:
            shown[column] = shown[column].map(percent)
    names = {"level": "before", "value": "after", "change_low": "from", "change_high": "to"}
    st.markdown("**Before and after**")
    told = shown.rename(columns=names).rename(columns=lambda name: name.replace("_", " "))
    place = choose_row(told, f"cells_of_{alert.id}", "to open its pattern")
    if place is not None:
        _open(alert, frame.iloc[place])


def _with_unit(value: object, metric: str) -> str | None:
    if not isinstance(value, (int, float)) or value != value:
        return None
    unit = METRIC_BY_NAME[metric].unit if metric in METRIC_BY_NAME else ""
    return f"{value:.4g} {unit}".strip()


def _open(alert: AlertRow, cell: pd.Series) -> None:
    device = next(one for one in cached_queries.devices() if one.id == alert.device_id)
    key = {name: cell[name] for name in ("pattern", "batch", "precision", "layout") if name in cell}
    links.go_to("pattern", device=device.uuid, **key)


def _patterns(patterns: list[str]) -> None:
    if patterns:
        more = f" and {len(patterns) - MOST_PATTERNS_NAMED} more" * (len(patterns) > MOST_PATTERNS_NAMED)
        named = ", ".join(f"({pattern})" for pattern in patterns[:MOST_PATTERNS_NAMED])
        note(f"{count(len(patterns), 'pattern')}: {named}{more}")


def _differences(changes: list[dict[str, object]]) -> None:
    if changes:
        st.markdown("**What else differs between the last good run and the first bad one**")
        show_table(pd.DataFrame(changes))


def _suspects(alert: AlertRow, told: dict[str, object]) -> None:
    """What the detector suspects, else every revision between the last good run and the first bad one."""
    good, bad = told.get("last_good_run"), told.get("first_bad_run") or alert.opened_run_id
    suspects = told.pop("suspects", None)
    if _is_table(suspects):
        st.markdown("**Suspects**")
        show_table(pd.DataFrame(suspects))
    elif isinstance(good, int) and isinstance(bad, int):
        found = cached_queries.revisions_between(alert.device_id, good, bad)
        st.markdown("**Suspects: revisions measured since the last good run**")
        rows = [
            {
                "commit": one.commit[:12] + (" dirty" if one.dirty else ""),
                "subject": one.subject,
                "committed": viewer.local(one.committed_at) if one.committed_at else None,
                "first measured in run": one.first_run_id,
            }
            for one in found
        ]
        if rows:
            show_table(pd.DataFrame(rows))
        else:
            note("No revision is recorded for those runs.")
    if good and bad:
        label = f"Compare run {good} with run {bad}"
        links.link("compare", label, icon=":material/compare_arrows:", by="runs", before=good, after=bad)


def _facts(told: dict[str, object]) -> None:
    """Single facts become one table, lists of objects a table each."""
    facts = [(name, _as_text(value)) for name, value in told.items() if not _is_table(value)]
    if facts:
        show_table(pd.DataFrame(facts, columns=["what", "is"]).replace("_", " ", regex=True))
    for name, value in told.items():
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
    st.markdown("**What was done**")
    rows = [
        {
            "when": viewer.local(event.at),
            "who": event.who,
            "what": event.action,
            "state": event.to_state,
            "reason": event.reason,
        }
        for event in events
    ]
    show_table(pd.DataFrame(rows))
