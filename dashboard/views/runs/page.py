"""Runs: the list, the cells of one run with status and reason, and the queue."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import pandas as pd
import streamlit as st

from kswatch.dashboard.components import links, timezone, url_state
from kswatch.dashboard.components.cell_table import show_cells
from kswatch.dashboard.components.filters import BOX_WIDTH, show_empty_store
from kswatch.dashboard.components.panels import finding, hint, note, origin_badge, show_table, status_badges
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.store import reading_store
from kswatch.dashboard.formatting.labels import count, duration, problem_labels, revision_label, utc
from kswatch.dashboard.views.compare.selection import run_name
from kswatch.dashboard.views.requests import queue
from kswatch.dashboard.views.runs import progress
from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import RunRow
from kswatch.db.queries.cells import MEASURED_NAMES
from kswatch.errors import UsageError

MOST_RUNS = 300
MOST_ROWS_AT_ONCE = 8
LIST_HEIGHT = 300
"""Pixels of the list of runs, which scrolls, so that the run below it stays visible."""

VIEWS = {"one": "One run", "queue": "Queue"}

CELL_COLUMNS = (
    *("problem", "implementation", "mode", "status", "latency_ms", "latency_low_ms", "latency_high_ms"),
    *("energy_mj", "floor_ratio", "relative_error", "flags", "reason", "energy_reason"),
)


def show() -> None:
    """Draw the page."""
    runs = cached_queries.runs(limit=MOST_RUNS)
    if not runs:
        show_empty_store()
        if queries.requests(reading_store(), limit=1):
            queue.show_queue()
        return
    finding(_newest_run_text(runs))
    _list(runs)
    view = url_state.segments("View", "view", list(VIEWS), show=VIEWS.__getitem__)
    if view == "queue":
        queue.show_queue()
    else:
        _one(runs)


def _newest_run_text(runs: list[RunRow]) -> str:
    running = [run for run in runs if run.state == "running"]
    if running:
        return f"{count(len(running), 'run')} in progress; the newest is run {running[0].id}"
    return f"Newest run: {runs[0].id}, {runs[0].suite} on {runs[0].device_model}, {runs[0].state}"


def _list(runs: list[RunRow]) -> None:
    if len(runs) == MOST_RUNS:
        hint(f"The newest {MOST_RUNS}; `kswatch runs` lists all.")
    table = pd.DataFrame(
        [
            {
                "run": run.id,
                "started": run.started_at,
                "device": run.device_model,
                "suite": run.suite,
                "kind": run.kind,
                "origin": run.origin,
                "state": "excluded" if run.excluded else run.state,
                "cells": run.cells,
                "planned": run.planned_cells,
                "ok": run.by_status.get("ok", 0),
                "duration": duration(run.seconds),
                "revision": revision_label(run.revision),
                "driver": run.environment.driver,
                "torch": run.environment.torch,
            }
            for run in runs
        ]
    )
    show_table(
        table,
        on_select=partial(_open_chosen, [run.id for run in runs]),
        selection_mode="single-row",
        key="run_table",
        height=LIST_HEIGHT if len(table) > MOST_ROWS_AT_ONCE else "content",
        column_config={
            "started": st.column_config.DatetimeColumn(
                format="YYYY-MM-DD HH:mm z", timezone=timezone.zone_name(), help=f"in {timezone.zone_name()}"
            )
        },
    )


def _open_chosen(run_ids: list[int]) -> None:
    """Show the run of the chosen row."""
    rows = st.session_state["run_table"].selection.rows
    if rows:
        url_state.remember("run", str(run_ids[rows[0]]))
        url_state.remember("view", "one")


def _with_requested(runs: list[RunRow]) -> list[RunRow]:
    """The listed runs, and the run of the URL where it is older."""
    requested = url_state.requested("run") or ""
    if requested.isdecimal() and int(requested) not in {run.id for run in runs}:
        with suppress(UsageError):
            return [*runs, cached_queries.run(int(requested))]
    return runs


def _one(runs: list[RunRow]) -> None:
    runs = _with_requested(runs)
    run = url_state.select("Run", "run", runs, show=run_name, as_text=lambda run: str(run.id), width=420)
    origin_badge(run.origin)
    label = f"Compare run {run.id} with another"
    links.link("compare", label, icon=":material/compare_arrows:", by="runs", after=run.id)
    length = f"{duration(run.seconds)}, incl. {duration(run.harness_seconds)} overhead"
    note(f"Started {timezone.local(run.started_at)}, {length}.", utc(run.started_at))
    if run.revision:
        note(f"Revision {revision_label(run.revision)}")
    for event in cached_queries.run_events(run.id):
        note(f"{event.action} by {event.who}, {timezone.local(event.at)}: {event.text}", utc(event.at))
    progress.show_progress(run)
    status_badges(run.by_status)
    cells = cached_queries.run_cells(run.id, tuple(name for name in CELL_COLUMNS if name in MEASURED_NAMES))
    if cells.empty:
        note("This run has no cells.")
        return
    _cells(cells)


def _cells(cells: pd.DataFrame) -> None:
    present = ["any", *sorted(cells["status"].unique())]
    names = ["any", *cells["implementation"].unique()]
    with st.container(horizontal=True, gap="small"):
        status = url_state.select("Status", "status", present, width=BOX_WIDTH)
        implementation = url_state.select("Implementation", "implementation", names, width=BOX_WIDTH)
    cells = cells.assign(problem=problem_labels(cells))
    if status != "any":
        cells = cells[cells["status"] == status]
    if implementation != "any":
        cells = cells[cells["implementation"] == implementation]
    note(count(len(cells), "cell"))
    show_cells(cells, CELL_COLUMNS)
