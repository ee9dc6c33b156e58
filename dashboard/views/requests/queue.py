"""The queue of asked-for runs, drawn again every few seconds while something is under way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import streamlit as st

from kswatch.dashboard.auth import current_user as visitor
from kswatch.dashboard.components import links
from kswatch.dashboard.components import timezone as viewer
from kswatch.dashboard.components.panels import finding, hint, note
from kswatch.dashboard.data.store import reading_store, writing_store
from kswatch.dashboard.formatting.labels import age, count, duration, utc
from kswatch.dashboard.formatting.markdown_escape import literal
from kswatch.dashboard.views.requests import workers as who_is_alive
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
PATIENCE = timedelta(minutes=2)
"""A request queued for longer than this, with nothing running, asks whether anybody serves."""

STATE_COLOURS = {"queued": "blue", "running": "orange", "done": "green", "failed": "red", "cancelled": "gray"}


def show_queue() -> None:
    """Draw the queue as a fragment of its own, which alone is drawn again as time passes."""
    live = queries.requests(reading_store(), states=LIVE)
    st.fragment(_queue, run_every=REFRESH_S if live else IDLE_REFRESH_S)()


def _queue() -> None:
    store = reading_store()
    live = queries.requests(store, states=LIVE)
    ended = [one for one in queries.requests(store, limit=MOST_ENDED + len(live)) if one.state not in LIVE]
    running = [request for request in live if request.state == "running"]
    finding(
        f"{count(len(running), 'run')} under way, {len(live) - len(running)} queued"
        if live
        else "The queue is empty"
    )
    if not live and not ended:
        hint("What is asked for appears here, and how far it is. `kswatch serve` takes one after another.")
    if live:
        _tell_time_left(live)
        _ask_who_serves(live, running)
    shown = [*live, *ended[:MOST_ENDED]]
    events = request_events.request_events(store, [one.id for one in shown])
    for request in sorted(live, key=lambda one: (one.state != "running", -one.priority, one.id)):
        _live(request, events)
    if ended:
        st.markdown("##### Ended")
    for request in ended[:MOST_ENDED]:
        _ended(request, events)
    who_is_alive.show_alive()


def _tell_time_left(live: list[RequestRow]) -> None:
    """How long the whole queue takes where it is known of each; devices work beside each other."""
    known = [one.seconds_left if one.state == "running" else one.seconds_planned for one in live]
    per_device: dict[str, float] = {}
    for request, seconds in zip(live, known, strict=True):
        per_device[request.device] = per_device.get(request.device, 0.0) + (seconds or 0.0)
    longest = max(per_device.values(), default=0.0)
    if longest:
        unknown = known.count(None)
        more = f"; of {count(unknown, 'request')} it is not known" if unknown else ""
        note(f"About {duration(longest)} until all is done{more}.")


def _ask_who_serves(live: list[RequestRow], running: list[RequestRow]) -> None:
    now = datetime.now(UTC)
    serves = who_is_alive.someone_serves(now)
    waited = now - min(request.asked_at for request in live)
    if serves is False or (serves is None and not running and waited > PATIENCE):
        st.warning("Nobody takes requests now: is `kswatch serve` running on the measuring machine?")
        st.code("kswatch serve", language="bash")


def _live(request: RequestRow, events: list[RequestEventRow]) -> None:
    with st.container(border=True):
        _title(request)
        _tell_cancelled(request, events)
        if request.state == "running":
            planned = request.cells_planned or 0
            left = f", {duration(request.seconds_left)} left" if request.seconds_left is not None else ""
            share = min(request.cells_done / planned, 1.0) if planned else 0.0
            st.progress(share, text=f"{request.cells_done:,} of {planned or 'unknown'} cells{left}")
        elif request.seconds_planned:
            note(f"It will take about {duration(request.seconds_planned)}.")
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
        note("It stops at the next problem.")
    elif visitor.visitor().may_act and st.button(
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
    note(f"asked by {request.asked_by}, {viewer.local(request.asked_at)}{why}", utc(request.asked_at))


def _tell_cancelled(request: RequestRow, events: list[RequestEventRow]) -> None:
    """Who cancelled it; a running one may say something else since."""
    for event in events:
        if (event.request_id, event.action) == (request.id, "cancel"):
            why = f": {event.reason}" if event.reason else ""
            note(f"{viewer.local(event.at)}, cancelled by {event.who}{why}", utc(event.at))


def _ended(request: RequestRow, events: list[RequestEventRow]) -> None:
    with st.container(border=True):
        _title(request)
        _tell_cancelled(request, events)
        if request.finished_at:
            said = "" if request.cancel_asked else request.message or ""
            note(f"Ended {age(request.finished_at, datetime.now(UTC))}. {said}")
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
    """Ask for the end of a request in the visitor's name, then draw the fragment again."""
    try:
        with writing_store() as store:
            requests.cancel(store, request_id, who=visitor.acting_name(visitor.visitor().name))
    except UsageError as error:
        st.error(literal(error))
        return
    st.rerun(scope="fragment")
