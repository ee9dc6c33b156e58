"""One run while it goes on, and what it said: its progress, its log, cancelling it, asking for it again."""

from __future__ import annotations

import streamlit as st

from kswatch.dashboard.auth import current_user as visitor
from kswatch.dashboard.components import links
from kswatch.dashboard.components import timezone as viewer
from kswatch.dashboard.components.panels import note
from kswatch.dashboard.data.store import reading_store
from kswatch.dashboard.formatting.labels import count, duration
from kswatch.dashboard.views.requests.submit import send
from kswatch.db.coordination.run_log import run_log
from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import RunRow

REFRESH_S = 2.0
MOST_LINES = 400
LOG_HEIGHT = 280
"""Pixels; the log scrolls."""


def show_progress(run: RunRow) -> None:
    """Draw how far a run is, anew every two seconds while it goes on, and what it said of itself."""
    if run.state == "running":
        st.fragment(_running, run_every=REFRESH_S)(run.id)
        return
    with st.expander("What it said of itself"):
        show_log(run.id)
    _run_again(run)


def _running(run_id: int) -> None:
    run = queries.run(reading_store(), run_id)
    if run.state != "running":
        st.rerun()
    planned = run.planned_cells or 0
    request = queries.request(reading_store(), run.request_id) if run.request_id else None
    left = f", {duration(request.seconds_left)} left" if request and request.seconds_left is not None else ""
    share = min(run.cells / planned, 1.0) if planned else 0.0
    st.progress(share, text=f"{run.cells:,} of {planned or 'unknown'} cells{left}")
    if request and request.cancel_asked:
        note("It stops at the next problem.")
    elif request and visitor.visitor().may_act and st.button("Cancel this run", key=f"cancel_run_{run_id}"):
        from kswatch.dashboard.views.requests.queue import cancel

        cancel(request.id)
    show_log(run_id)


def show_log(run_id: int) -> None:
    """Draw the newest lines of a run's log, the oldest of them first, never as markup."""
    lines = run_log(reading_store(), run_id)
    if not lines:
        note("It said nothing of itself.")
        return
    if len(lines) > MOST_LINES:
        note(f"The newest {MOST_LINES} of {count(len(lines), 'line')}.")
    text = "\n".join(
        f"{viewer.local(line.at)}  {line.level:<8}{' '.join(line.text.split())}"
        for line in lines[-MOST_LINES:]
    )
    st.code(text, language=None, height=LOG_HEIGHT)


def _run_again(run: RunRow) -> None:
    if run.kind == "import" or not visitor.visitor().may_act:
        return
    with st.popover("Run again", icon=":material/replay:"):
        note(f"Asks for {run.suite} on {run.device_model} with the same choices, as an ad-hoc run.")
        who = visitor.name_box(f"again_who_{run.id}", "Who asks")
        why = st.text_input("Why", value=f"run {run.id} again", max_chars=500, key=f"again_why_{run.id}")
        if st.button("Ask for it", type="primary", key=f"again_{run.id}"):
            _ask_again(run, who, why)


def _ask_again(run: RunRow, who: str, why: str) -> None:
    budget = {"budget": f"{run.budget_s:.0f}s"} if run.budget_s else {}
    request_id = send(
        run.suite,
        run.device_uuid,
        run.arguments | budget,
        who=who,
        why=why,
        cells=run.planned_cells,
        budget_s=run.budget_s,
    )
    if request_id is None:
        return
    st.success(f"Request {request_id} is queued.")
    links.link("runs", "The queue", icon=":material/arrow_forward:", view="queue")
