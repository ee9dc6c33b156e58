"""Overview: the changes of the newest night, on which device, and the state of the machines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pandas as pd
import streamlit as st

from kswatch.dashboard.components.filters import ProblemFilters, choose_problems, show_empty_store
from kswatch.dashboard.components.panels import finding, hint, note, show_table
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.device_runs import DeviceRuns, RunSource, preferred_history
from kswatch.dashboard.data.server_settings import judgement_limits
from kswatch.dashboard.data.store import reading_store
from kswatch.dashboard.formatting.labels import age, count, device_names
from kswatch.dashboard.views.overview import changes
from kswatch.dashboard.views.overview.device_card import show_card
from kswatch.dashboard.views.overview.heuristics_card import show_rules
from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import DeviceRow, HistoryFilter
from kswatch.db.queries.page_queries import RunGroup

SPARKLINE_NIGHTS = 90
DETAILED_NIGHTS = 2
"""Runs that cards show in detail: the newest, and the run before that it is compared with."""


def show() -> None:
    """Draw the page."""
    groups = cached_queries.run_groups()
    if not groups:
        show_empty_store()
        return
    devices = _with_runs(groups)
    measured = [runs for runs in devices if runs.source.origin == "measured"]
    others = [runs for runs in devices if runs.source.origin != "measured"]
    shown = measured or others
    newest = [runs.newest for runs in shown]
    judged = bool(measured) or changes.are_judged(newest)
    if judged:
        finding(changes.changes_headline(shown))
    else:
        finding("No measurements of this machine yet; all data are imported or simulated")
        hint("`kswatch nightly` measures this machine, with or without a GPU, in a few minutes.")
    with st.container(horizontal=True, gap="small"):
        about = choose_problems(tuple(run.id for run in newest))
    _cards(shown, about)
    if judged:
        changes.show_changes(newest)
        _missing_data(shown)
    show_rules(shown, about)
    if measured and others:
        with st.expander(f"Also in this store: {count(len(others), 'device')}, imported or simulated"):
            _cards(others, about)


def _with_runs(groups: list[RunGroup]) -> list[DeviceRuns]:
    """Devices with ended runs, each with its most preferred source."""
    chosen: list[tuple[DeviceRow, RunSource]] = []
    filters: list[HistoryFilter] = []
    devices = cached_queries.devices()
    names = device_names(devices)
    for device in devices:
        if history := preferred_history(device.id, groups):
            chosen.append((device, history[0]))
            filters.append(history[1])
    newest = cached_queries.ended_runs(tuple(filters), DETAILED_NIGHTS)
    ids = cached_queries.ended_run_ids(tuple(filters), SPARKLINE_NIGHTS)
    return [
        DeviceRuns(device, names[device.id], source, tuple(own), earlier=tuple(every[: -len(own)]))
        for (device, source), own, every in zip(chosen, newest, ids, strict=True)
    ]


def _cards(devices: Sequence[DeviceRuns], about: ProblemFilters) -> None:
    columns = st.columns(2) if len(devices) > 1 else [st.container()]
    among = tuple(run_id for runs in devices for run_id in runs.run_ids)
    for index, shown in enumerate(devices):
        with columns[index % len(columns)], st.container(border=True):
            show_card(shown, about, among)


def _missing_data(devices: Sequence[DeviceRuns]) -> None:
    """Draw the sources that stopped reporting, or that there are none."""
    now, limits = datetime.now(UTC), judgement_limits()
    rows = [
        {
            "kind": "device",
            "source": shown.name,
            "since": f"run {shown.newest.id}, {age(shown.newest.started_at, now)}",
            "status": "no nightly run",
        }
        for shown in devices
        if shown.is_overdue(limits, now)
    ]
    rows += [row for shown in devices for row in _lost_cells(shown)] + _lost_workers(now)
    if not rows:
        note("All devices, cells and workers are reporting.")
        return
    finding(f"{count(len(rows), 'source')} stopped reporting")
    show_table(pd.DataFrame(rows))


def _lost_cells(shown: DeviceRuns) -> list[dict[str, str]]:
    """Cells with a latency in the run before and none in the newest run."""
    if len(shown.runs) < 2:
        return []
    found = cached_queries.missing_cells(shown.runs[-2].id, shown.newest.id)
    return [
        {
            "kind": count(row.cells, "cell"),
            "source": f"{row.implementation} on {shown.name}",
            "since": f"run {shown.newest.id}",
            "status": f"{row.status.replace('_', ' ')}{f': {row.reason}' if row.reason else ''}",
        }
        for row in found.itertuples()
    ]


def _lost_workers(now: datetime) -> list[dict[str, str]]:
    return [
        {
            "kind": worker.role,
            "source": worker.name,
            "since": age(worker.heartbeat_at, now),
            "status": "no heartbeat, not shut down cleanly",
        }
        for worker in queries.workers(reading_store())
        if worker.state(now) == "stale"
    ]
