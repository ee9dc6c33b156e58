"""The queue of asked-for runs, drawn again every few seconds while something is under way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import streamlit as st

from dashboard import cached_queries, links
from dashboard.connection import reading_store, writing_store
from dashboard.naming import age, count, duration, utc
from dashboard.panels import finding, hint, note
from dashboard.plain_text import literal
from db import queries, requests
from db.queries import RequestRow
from kswatch_errors import UsageError

LIVE = ("queued", "running")
MOST_ENDED = 10
REFRESH_S = 2.0
IDLE_REFRESH_S = 15.0
PATIENCE = timedelta(minutes=2)
"""A request queued for longer than this, with nothing running, asks whether anybody serves."""

STATE_COLOURS = {"queued": "blue", "running": "orange", "done": "green", "failed": "red", "cancelled": "gray"}


def show_queue() -> None:
    """Draw the queue as a fragment of its own, which alone is drawn again as time passes."""
    live = queries.requests(reading_store(), states=LIVE)
    st.fragment(_queue, run_every=REFRESH_S if live else IDLE_REFRESH_S)()


def _queue() -> None:
    found = queries.requests(reading_store())
    live = [request for request in found if request.state in LIVE]
    running = [request for request in live if request.state == "running"]
    finding(
        f"{count(len(running), 'run')} under way, {len(live) - len(running)} queued"
        if live
        else "The queue is empty"
    )
    if not found:
        hint("What is asked for appears here, and how far it is. `kswatch serve` takes one after another.")
    if live and not running:
        _ask_who_serves(live)
    for request in sorted(live, key=lambda one: (one.state != "running", -one.priority, one.id)):
        _live(request)
    ended = [request for request in found if request.state not in LIVE][:MOST_ENDED]
    if ended:
        st.markdown("##### Ended")
    for request in ended:
        _ended(request)


def _ask_who_serves(live: list[RequestRow]) -> None:
    waiting = datetime.now(UTC) - min(request.asked_at for request in live)
    if waiting > PATIENCE:
        st.warning("Nobody has taken a request: is `kswatch serve` running on the measuring machine?")
        st.code("kswatch serve", language="bash")


def _live(request: RequestRow) -> None:
    with st.container(border=True):
        _title(request)
        if request.state == "running":
            planned = request.cells_planned or 0
            left = f", {duration(request.seconds_left)} left" if request.seconds_left is not None else ""
            share = min(request.cells_done / planned, 1.0) if planned else 0.0
            st.progress(share, text=f"{request.cells_done:,} of {planned or 'unknown'} cells{left}")
        if request.message:
            note(request.message)
        if request.cancel_asked:
            note("It stops at the next problem.")
        elif st.button("Cancel", key=f"cancel_{request.id}", type="tertiary", icon=":material/cancel:"):
            _cancel(request.id)


def _title(request: RequestRow) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(literal(request.state), color=STATE_COLOURS.get(request.state, "gray"))  # type: ignore[arg-type]
        st.markdown(f"**Request {request.id}**: {literal(request.suite)} on {literal(request.device)}")
    filters = "; ".join(
        f"{name} {', '.join(map(str, values))}"
        for name, values in request.arguments.items()
        if isinstance(values, list)
    )
    if filters:
        note(filters)
    why = f": {request.why}" if request.why else ""
    note(f"asked by {request.asked_by}, {utc(request.asked_at)}{why}")


def _ended(request: RequestRow) -> None:
    with st.container(border=True):
        _title(request)
        if request.finished_at:
            note(f"Ended {age(request.finished_at, datetime.now(UTC))}. {request.message or ''}")
        runs = [run for run in cached_queries.runs() if run.request_id == request.id]
        for run in runs:
            ok = run.by_status.get("ok", 0)
            links.link(
                "runs",
                f"Run {run.id}: {ok} of {count(run.cells, 'cell')} ok",
                icon=":material/arrow_forward:",
                run=run.id,
            )


def _cancel(request_id: int) -> None:
    try:
        with writing_store() as store:
            requests.cancel(store, request_id, who="the dashboard")
    except UsageError as error:
        st.error(literal(error))
        return
    st.rerun(scope="fragment")
