"""The queue of requests, redrawn every few seconds while any is live."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import streamlit as st

from kswatch.dashboard.auth import current_user
from kswatch.dashboard.components import links, timezone
from kswatch.dashboard.components.panels import finding, hint, note, show_error, show_progress_bar, show_table
from kswatch.dashboard.data.store import reading_store, writing_store
from kswatch.dashboard.formatting.labels import age, count, duration, literal, utc
from kswatch.db.coordination.workers import WorkerRow, workers
from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import RequestRow
from kswatch.db.request_queue import events as request_events
from kswatch.db.request_queue import requests
from kswatch.db.request_queue.events import RequestEventRow
from kswatch.errors import UsageError

LIVE = ("queued", "running")
MOST_ENDED = 10
REFRESH_S = 2.0
IDLE_REFRESH_S = 15.0
WAIT_BEFORE_WARNING = timedelta(minutes=2)
"""After this wait with nothing running, the queue warns that no coordinator may be running."""

STATE_COLOURS = {"queued": "blue", "running": "orange", "done": "green", "failed": "red", "cancelled": "gray"}

SEEN_WITHIN = timedelta(days=7)
"""Workers without a heartbeat for longer are left out."""

WORKER_STATES = {"alive": "alive", "stale": "no heartbeat", "stopped": "stopped"}
"""Labels of the states of a worker."""


def show_queue() -> None:
    """Draw the queue as a fragment, which is redrawn on its own."""
    live = queries.requests(reading_store(), states=LIVE)
    st.fragment(_queue, run_every=REFRESH_S if live else IDLE_REFRESH_S)()


def _queue() -> None:
    store, now = reading_store(), datetime.now(UTC)
    known = workers(store, seen_since=now - SEEN_WITHIN)
    live = queries.requests(store, states=LIVE)
    newest = queries.requests(store, limit=MOST_ENDED + len(live))
    ended = [request for request in newest if request.state not in LIVE]
    running = [request for request in live if request.state == "running"]
    finding(
        f"{count(len(running), 'run')} in progress, {len(live) - len(running)} queued"
        if live
        else "The queue is empty"
    )
    if not live and not ended:
        hint("Requests appear here with their progress. `kswatch serve` runs them, one at a time per device.")
    if live:
        _show_time_left(live)
        _warn_if_unserved(live, known, now)
    shown = [*live, *ended[:MOST_ENDED]]
    events = request_events.request_events(store, [request.id for request in shown])
    for request in sorted(live, key=lambda row: (row.state != "running", -row.priority, row.id)):
        _live(request, events)
    if ended:
        st.markdown("##### Ended")
    for request in ended[:MOST_ENDED]:
        _ended(request, events)
    _show_workers(known, now)


def _show_time_left(live: list[RequestRow]) -> None:
    """Draw the time until the queue is done, as far as known; devices work in parallel."""
    known = [
        request.seconds_left if request.state == "running" else request.seconds_planned for request in live
    ]
    per_device: dict[str, float] = {}
    for request, seconds in zip(live, known, strict=True):
        per_device[request.device] = per_device.get(request.device, 0.0) + (seconds or 0.0)
    longest = max(per_device.values(), default=0.0)
    if longest:
        unknown = known.count(None)
        more = f"; no estimate for {count(unknown, 'request')}" if unknown else ""
        note(f"About {duration(longest)} until the queue is done{more}.")


def _warn_if_unserved(live: list[RequestRow], known: list[WorkerRow], now: datetime) -> None:
    """Warn where no coordinator is alive; older versions send no heartbeat and are known by their runs."""
    states = [worker.state(now) for worker in known if worker.role == "coordinator"]
    is_running = any(request.state == "running" for request in live)
    waited = now - min(request.asked_at for request in live)
    if "alive" not in states and (states or (not is_running and waited > WAIT_BEFORE_WARNING)):
        st.warning("No coordinator is running requests: start `kswatch serve` on the measuring machine.")
        st.code("kswatch serve", language=None)


def _live(request: RequestRow, events: list[RequestEventRow]) -> None:
    with st.container(border=True):
        _title(request)
        _show_cancellation(request, events)
        if request.state == "running":
            show_progress_bar(request.cells_done, request.cells_planned, request.seconds_left)
        elif request.seconds_planned:
            note(f"Estimated duration: {duration(request.seconds_planned)}.")
        if request.message and not request.cancel_asked:
            note(request.message)
        with st.container(horizontal=True, gap="small"):
            if request.run_id is not None:
                links.link(
                    "runs", f"Run {request.run_id}", icon=":material/arrow_forward:", run=request.run_id
                )
            _cancel_button(request)


def _cancel_button(request: RequestRow) -> None:
    if request.cancel_asked:
        note("Stops at the next problem.")
    elif current_user.get_user().may_act and st.button(
        "Cancel", key=f"cancel_{request.id}", type="tertiary", icon=":material/cancel:"
    ):
        cancel(request.id)


def _title(request: RequestRow) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(literal(request.state), color=STATE_COLOURS.get(request.state, "gray"))  # type: ignore[arg-type]
        st.markdown(f"**Request {request.id}**: {literal(request.suite)} on {literal(request.device)}")
    filters = "; ".join(
        f"{name} {', '.join(map(str, values)) if isinstance(values, list) else values}"
        for name, values in request.arguments.items()
    )
    if filters:
        note(filters)
    why = f": {request.why}" if request.why else ""
    note(f"requested by {request.asked_by}, {timezone.local(request.asked_at)}{why}", utc(request.asked_at))


def _show_cancellation(request: RequestRow, events: list[RequestEventRow]) -> None:
    """Draw who cancelled the request and why, whatever its message."""
    for event in events:
        if (event.request_id, event.action) == (request.id, "cancel"):
            why = f": {event.reason}" if event.reason else ""
            note(f"{timezone.local(event.at)}, cancelled by {event.who}{why}", utc(event.at))


def _ended(request: RequestRow, events: list[RequestEventRow]) -> None:
    with st.container(border=True):
        _title(request)
        _show_cancellation(request, events)
        if request.finished_at:
            message = "" if request.cancel_asked else request.message or ""
            note(f"Ended {age(request.finished_at, datetime.now(UTC))}. {message}")
        if request.run_id is None:
            return
        run = queries.run(reading_store(), request.run_id)
        ok = run.by_status.get("ok", 0)
        links.link(
            "runs",
            f"Run {run.id}: {ok} of {count(run.cells, 'cell')} ok",
            icon=":material/arrow_forward:",
            run=run.id,
            view="one",
        )


def cancel(request_id: int) -> None:
    """Cancel a request in the user's name, then redraw the fragment."""
    try:
        with writing_store() as store:
            requests.cancel(store, request_id, user=current_user.acting_name(current_user.get_user().name))
    except UsageError as error:
        show_error(error)
        return
    st.rerun(scope="fragment")


def _show_workers(known: list[WorkerRow], now: datetime) -> None:
    """Draw the number of coordinators and workers by state, and their table."""
    if not known:
        note("No coordinator has sent a heartbeat in the last week.")
        return
    states = [WORKER_STATES[worker.state(now)] for worker in known]
    counts = ", ".join(
        f"{states.count(state)} {state}" for state in WORKER_STATES.values() if state in states
    )
    st.markdown("##### Coordinators and workers")
    note(f"{counts}. “No heartbeat”: none for 90 s, because it was killed or disconnected.")
    rows = [
        {
            "state": state,
            "role": worker.role,
            "name": worker.name,
            "engine": worker.engine,
            "host": worker.host,
            "device": worker.device_model or worker.device_uuid,
            "run": worker.run_id,
            "last heartbeat": age(worker.heartbeat_at, now),
            "started": age(worker.started_at, now),
        }
        for worker, state in zip(known, states, strict=True)
    ]
    show_table(pd.DataFrame(rows).astype({"run": "Int64"}))
