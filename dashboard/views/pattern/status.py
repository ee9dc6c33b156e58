"""The state of one problem in a line: what changed, since when, by which commits, under which alert."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from kswatch.dashboard.charts.trend import Annotation
from kswatch.dashboard.components import code_links, links
from kswatch.dashboard.components.filters import Scope
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import cause_label, literal, metric_label, percent
from kswatch.db.alerts.lifecycle import LIVE
from kswatch.db.queries.basic import AlertRow, RunRow

WORDS_OF_VERDICTS = {"slower": ("worse", "red"), "faster": ("better", "green")}
"""Verdicts on any metric, energy too, in words with a colour."""


def alerts_of(verdicts: pd.DataFrame) -> list[AlertRow]:
    """The alerts that verdicts on this problem belong to, whatever their state."""
    known = verdicts["alert_id"].dropna().unique()
    return cached_queries.alerts(ids=tuple(map(int, known))) if len(known) else []


def alert_marks(scope: Scope, alerts: Sequence[AlertRow]) -> list[Annotation]:
    """The nights of this scope on which these alerts were opened, as annotations of a chart."""
    at = {run.id: run.started_at for run in scope.runs}
    return [
        Annotation(at[alert.opened_run_id], "alert", f"alert {alert.id}, {alert.state}: {alert.title}")
        for alert in alerts
        if alert.opened_run_id in at
    ]


def show_status(scope: Scope, verdicts: pd.DataFrame, alerts: Sequence[AlertRow]) -> None:
    """Draw a line for each series that is off its level in the newest run, and a link to each live alert."""
    newest = verdicts[(verdicts["run_id"] == scope.newest.id) & (verdicts["verdict"] != "ambiguous")]
    if newest.empty:
        measured = scope.newest.revision
        commit = f" at {code_links.revision_link(measured)}" if measured else ""
        st.markdown(f":green-badge[no change] in the newest run{commit}.")
    for row in newest.itertuples():
        same = verdicts[
            (verdicts["implementation"] == row.implementation)
            & (verdicts["metric"] == row.metric)
            & (verdicts["verdict"] == row.verdict)
        ]
        word, colour = WORDS_OF_VERDICTS.get(row.verdict, (row.verdict, "gray"))
        words = literal(
            f"{row.implementation} {metric_label(row.metric)} {percent(row.change)} against its level since"
        )
        since = _since(scope.runs, set(same["run_id"]))
        cause = literal(f"likely cause: {cause_label(row.cause) or 'unknown'}.")
        st.markdown(f":{colour}-badge[{word}] {words} {since}; {cause}")
    for alert in alerts:
        if alert.state in LIVE:
            label = f"Alert {alert.id}, {alert.state}: {alert.title}"
            links.link("alerts", literal(label), icon=":material/notifications_active:", alert=alert.id)


def _since(runs: Sequence[RunRow], flagged: set[int]) -> str:
    """The first of the newest runs that all have this verdict, with the commits since the run before."""
    first = len(runs)
    while first and runs[first - 1].id in flagged:
        first -= 1
    since = runs[first]
    text = literal(f"{since.started_at:%-d %b} (run {since.id})")
    if not first or since.revision is None:
        return text
    good = runs[first - 1].revision
    return f"{text}, {code_links.range_link(good.commit if good else None, since.revision.commit)}"
