"""Runs: the list, the cells of one run with status and reason, and the queue."""

from __future__ import annotations

from contextlib import suppress

import pandas as pd
import streamlit as st

from kswatch.dashboard.auth import current_user
from kswatch.dashboard.components import code_links, links, timezone, url_state
from kswatch.dashboard.components.artifacts import show_artifacts
from kswatch.dashboard.components.filters import BOX_WIDTH, show_empty_store
from kswatch.dashboard.components.panels import (
    finding,
    hint,
    note,
    origin_badge,
    show_cells,
    show_progress_bar,
    show_table,
    status_badges,
)
from kswatch.dashboard.components.speed_of_light import explain_cells_over_one
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.store import reading_store
from kswatch.dashboard.formatting.labels import (
    count,
    duration,
    problem_labels,
    ratio,
    utc,
)
from kswatch.dashboard.views.compare.selection import run_name
from kswatch.dashboard.views.pattern.answer import answer_of
from kswatch.dashboard.views.requests import queue
from kswatch.dashboard.views.requests.submit import submit
from kswatch.db.coordination.run_log import run_log
from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import RunRow
from kswatch.db.queries.cells import MEASURED_NAMES
from kswatch.errors import UsageError

MOST_RUNS = 300
LIST_KEY = "run_table"
ICON = ":material/compare_arrows:"
LIST_HEIGHT = 300
"""Pixels of the list of runs, which scrolls, so that the run below it stays visible."""

VIEWS = {"one": "One run", "queue": "Queue"}

CELL_COLUMNS = (
    *("problem", "implementation", "mode", "status", "latency_ms", "latency_low_ms", "latency_high_ms"),
    *("energy_mj", "floor_ratio", "relative_error", "flags", "reason", "energy_reason"),
)

REFRESH_S = 2.0
MOST_LINES = 400
LOG_HEIGHT = 280
"""Pixels; the log scrolls."""


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
    view = url_state.segments("View", "view", VIEWS)
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
    of_runs = [run.revision.commit if run.revision else None for run in runs]
    commits, columns = code_links.table_links([(commit, commit) for commit in of_runs])
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
                "duration (min)": None if run.seconds is None else run.seconds / 60,
                "commit": commit,
                "subject": _subject(run),
                "driver": run.environment.driver,
                "torch": run.environment.torch,
            }
            for run, commit in zip(runs, commits, strict=True)
        ]
    )
    shown = show_table(
        table,
        LIST_HEIGHT,
        on_select=lambda: _open_chosen(runs),
        selection_mode="multi-row",
        key=LIST_KEY,
        column_config={
            "started": st.column_config.DatetimeColumn(
                format="YYYY-MM-DD HH:mm z", timezone=timezone.zone_name(), help=f"in {timezone.zone_name()}"
            ),
            **columns,
        },
    )

    chosen = sorted(runs[row].id for row in shown.selection.rows if row < len(runs))
    if len(chosen) == 2:
        label = f"Compare run {chosen[0]} with run {chosen[1]}"
        links.link("compare", label, ICON, by="runs", before=chosen[0], after=chosen[1])
    else:
        hint("Choose a run to show it, two to compare them: by check boxes, or Shift and Space.")


def _subject(run: RunRow) -> str | None:
    """The first line of the commit's message, with a mark of uncommitted changes."""
    if run.revision is None:
        return None
    return f"{'dirty: ' if run.revision.dirty else ''}{run.revision.subject or ''}" or None


def _open_chosen(runs: list[RunRow]) -> None:
    rows = st.session_state[LIST_KEY].selection.rows
    if len(rows) == 1:
        url_state.remember("run", str(runs[rows[0]].id))
        url_state.remember("view", "one")


def _with_requested(runs: list[RunRow]) -> list[RunRow]:
    """The listed runs, and the run of the URL where it is older."""
    requested = url_state.requested_number("run")
    if requested is not None and requested not in {run.id for run in runs}:
        with suppress(UsageError):
            return [*runs, cached_queries.run(requested)]
    return runs


def _one(runs: list[RunRow]) -> None:
    runs = _with_requested(runs)
    run = url_state.select("Run", "run", runs, show=run_name, width=420)
    origin_badge(run.origin)
    if run.kind == "ad_hoc":
        finding(_answer(run.id))
    label = f"Compare run {run.id} with another"
    links.link("compare", label, ICON, by="runs", after=run.id)
    length = f"{duration(run.seconds)}, incl. {duration(run.harness_seconds)} overhead"
    note(f"Started {timezone.local(run.started_at)}, {length}.", utc(run.started_at))
    if run.revision:
        hint(f"Revision {code_links.revision_link(run.revision)}")
    for event in cached_queries.run_events(run.id):
        note(f"{event.action} by {event.who}, {timezone.local(event.at)}: {event.text}", utc(event.at))
    _progress(run)
    show_artifacts(run.id)
    status_badges(run.by_status)
    cells = cached_queries.run_cells(run.id, tuple(name for name in CELL_COLUMNS if name in MEASURED_NAMES))
    if cells.empty:
        note("This run has no cells.")
        return
    _cells(cells)


def _answer(run_id: int) -> str:
    """The answer of an ad-hoc run in one sentence."""
    compared = cached_queries.run_comparisons(run_id)
    known = compared.dropna(subset=["speedup"])
    if known.empty:
        reasons = compared["left_out"].dropna()
        return f"No comparison: {reasons.iloc[0] if len(reasons) else 'no problem has fused and a baseline'}"
    if len(known) == 1:
        cells = cached_queries.run_cells(run_id, ("mode", "latency_ms", "energy_mj"))
        own = cells[cells["problem_id"] == known["problem_id"].iloc[0]]
        found = answer_of(own, known)
        if found is not None:
            return f"({known['pattern'].iloc[0]}): {found.sentence}"
    speedups = known["speedup"]
    return (
        f"Fused is faster on {int((speedups > 1).sum())} of {count(len(known), 'problem')}: "
        f"{ratio(speedups.min())} to {ratio(speedups.max())}, median {ratio(speedups.median())}"
    )


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
    explain_cells_over_one(cells)


def _progress(run: RunRow) -> None:
    """Draw the progress of a run, redrawn every two seconds while it is in progress, and its log."""
    if run.state == "running":
        st.fragment(_running, run_every=REFRESH_S)(run.id)
        return
    with st.expander("Log"):
        _log(run.id)
    _run_again(run)


def _running(run_id: int) -> None:
    run = queries.run(reading_store(), run_id)
    if run.state != "running":
        st.rerun()
    request = queries.request(reading_store(), run.request_id) if run.request_id else None
    show_progress_bar(run.cells, run.planned_cells, request.seconds_left if request else None)
    if request and request.cancel_asked:
        note("Stops at the next problem.")
    elif (
        request
        and current_user.get_user().may_act
        and st.button("Cancel this run", key=f"cancel_run_{run_id}")
    ):
        queue.cancel(request.id)
    _log(run_id)


def _log(run_id: int) -> None:
    """Draw the newest lines of a run's log in order of time, never as markup."""
    lines = run_log(reading_store(), run_id)
    if not lines:
        note("The log is empty.")
        return
    if len(lines) > MOST_LINES:
        note(f"The newest {MOST_LINES} of {count(len(lines), 'line')}.")
    text = "\n".join(
        f"{timezone.local(line.at)}  {line.level:<8}{' '.join(line.text.split())}"
        for line in lines[-MOST_LINES:]
    )
    st.code(text, language=None, height=LOG_HEIGHT)


def _run_again(run: RunRow) -> None:
    if run.kind == "import" or not current_user.get_user().may_act:
        return
    with st.popover("Run again", icon=":material/replay:"):
        note(f"Requests an ad-hoc run of {run.suite} on {run.device_model} with the same choices.")
        name = current_user.name_box(f"again_who_{run.id}")
        reason = st.text_input(
            "Reason", value=f"run {run.id} again", max_chars=500, key=f"again_why_{run.id}"
        )
        if st.button("Request this run", type="primary", key=f"again_{run.id}"):
            _resubmit(run, name, reason)


def _resubmit(run: RunRow, name: str, reason: str) -> None:
    budget = {"budget": f"{run.budget_s:.0f}s"} if run.budget_s else {}
    request_id = submit(
        run.suite,
        run.device_uuid,
        run.arguments | budget,
        name=name,
        reason=reason,
        cells=run.planned_cells,
        budget_s=run.budget_s,
    )
    if request_id is None:
        return
    st.success(f"Request {request_id} is queued.")
    links.link("runs", "Queue", icon=":material/arrow_forward:", view="queue")
