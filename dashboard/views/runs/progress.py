"""One run: its progress and log, and the buttons to cancel or repeat it."""

from __future__ import annotations

import streamlit as st

from kswatch.dashboard.auth import current_user
from kswatch.dashboard.components import links, timezone
from kswatch.dashboard.components.panels import note, show_progress_bar
from kswatch.dashboard.data.store import reading_store
from kswatch.dashboard.formatting.labels import count
from kswatch.dashboard.views.requests.submit import submit
from kswatch.db.coordination.run_log import run_log
from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import RunRow

REFRESH_S = 2.0
MOST_LINES = 400
LOG_HEIGHT = 280
"""Pixels; the log scrolls."""


def show_progress(run: RunRow) -> None:
    """Draw the progress of a run, redrawn every two seconds while it is in progress, and its log."""
    if run.state == "running":
        st.fragment(_running, run_every=REFRESH_S)(run.id)
        return
    with st.expander("Log"):
        show_log(run.id)
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
        from kswatch.dashboard.views.requests.queue import cancel

        cancel(request.id)
    show_log(run_id)


def show_log(run_id: int) -> None:
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
