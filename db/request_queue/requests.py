"""The queue of asked-for runs: who asks, who takes one, how far it is. `kswatch serve` takes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from kswatch.db.queries.alerts_and_requests import request
from kswatch.db.queries.rows import RequestRow
from kswatch.db.records import RunKind
from kswatch.db.request_queue import events as request_events
from kswatch.db.request_queue.cost import Limits as Limits
from kswatch.db.request_queue.cost import estimated_seconds as estimated_seconds
from kswatch.db.request_queue.cost import seconds_per_cell as seconds_per_cell
from kswatch.db.schema.tables import Request
from kswatch.db.store import Store
from kswatch.errors import UsageError

End = Literal["done", "failed", "cancelled"]


def ask(
    store: Store,
    suite: str,
    device: str,
    *,
    asked_by: str,
    why: str | None = None,
    arguments: Mapping[str, object] | None = None,
    kind: RunKind = "ad_hoc",
    priority: int = 0,
    cells: int | None = None,
    budget_s: float | None = None,
    limits: Limits | None = None,
) -> int:
    """Queue a run and give the request's id; whether it can be run is found when it is taken.

    Args:
        store: to write to.
        suite: by name.
        device: as the asker names it: cpu, a UUID, a model name.
        asked_by: who.
        why: what for.
        arguments: the suite's filters, as `RunRecord.arguments`, and perhaps `budget`.
        kind: of the run.
        priority: the highest is taken first, then the oldest.
        cells: that it has, where the asker knows; the time that it will take is estimated from it.
        budget_s: longest time of the run, as `budget` of the arguments has it.
        limits: on what it may cost; None for none.

    Raises:
        UsageError: it costs too much, or this person asked too often; said in words for people.
    """
    estimate = estimated_seconds(store, device, cells)
    seconds = min(filter(None, (estimate, budget_s)), default=None)
    now = datetime.now(UTC)
    with store.writing() as session:
        if limits:
            _refuse(limits.refusal(cells, seconds) or _too_often(session, limits, asked_by, now))
        asked = Request(
            suite=suite,
            device=device,
            asked_by=asked_by,
            why=why,
            arguments=dict(arguments or {}),
            kind=kind,
            priority=priority,
            asked_at=now,
            cells_planned=cells,
            seconds_planned=seconds if estimate else None,  # a budget alone is no estimate
        )
        session.add(asked)
        session.flush()
        request_events.add(session, asked.id, now, asked_by, "ask", why)
        return asked.id


def _refuse(reason: str | None) -> None:
    if reason:
        raise UsageError(f"this request is refused: {reason}")


def _too_often(session: Session, limits: Limits, who: str, now: datetime) -> str | None:
    lately = (Request.asked_by == who, Request.asked_at > now - timedelta(hours=1))
    asked = session.scalar(select(func.count()).select_from(Request).where(*lately)) or 0
    if asked < limits.requests_per_hour:
        return None
    return f"{who} asked for {asked} runs within the last hour, and no more are taken; wait for those"


def take_next(store: Store) -> RequestRow | None:
    """The request whose turn it is, now `running` and nobody else's; None when the queue is empty."""
    return _take(store)


def take(store: Store, request_id: int) -> RequestRow | None:
    """This request, now `running` and nobody else's; None where it is not queued any more."""
    return _take(store, Request.id == request_id)


def _take(store: Store, *which: ColumnElement[bool]) -> RequestRow | None:
    with store.writing() as session:
        queued = (
            select(Request)
            .where(Request.state == "queued", *which)
            .order_by(Request.priority.desc(), Request.id)
            .limit(1)
            .with_for_update(skip_locked=True)  # of no effect in SQLite, whose write lock is held already
        )
        taken = session.scalars(queued).one_or_none()
        if taken is None:
            return None
        taken.state, taken.taken_at = "running", datetime.now(UTC)
        request_id = taken.id
    return request(store, request_id)


def plan(store: Store, request_id: int, cells: int, seconds: float | None) -> None:
    """Write how much a queued request is, once somebody could count it."""
    with store.writing() as session:
        queued = _request(session, request_id)
        queued.cells_planned, queued.seconds_planned = cells, seconds


def wait(store: Store, request_id: int, message: str) -> None:
    """Say what a queued request waits for."""
    with store.writing() as session:
        queued = _request(session, request_id)
        if queued.state == "queued":
            queued.message = message


def progress(
    store: Store,
    request_id: int,
    cells_done: int,
    cells_planned: int | None = None,
    seconds_left: float | None = None,
    message: str | None = None,
) -> bool:
    """Write how far a running request is; True when somebody asked to cancel it."""
    with store.writing() as session:
        running = _request(session, request_id)
        running.cells_done, running.seconds_left = cells_done, seconds_left
        running.cells_planned = cells_planned if cells_planned is not None else running.cells_planned
        running.message = message if message is not None else running.message
        return running.cancel_asked


def finish(
    store: Store,
    request_id: int,
    state: End = "done",
    message: str | None = None,
    taken_at: datetime | None = None,
) -> None:
    """Write how a taken request ended, with what is to be said of it.

    Of no effect where it was taken at another time than `taken_at`: by somebody else, meanwhile.
    """
    with store.writing() as session:
        ended = _request(session, request_id)
        if _is_anothers(ended, taken_at):
            return
        ended.state, ended.finished_at, ended.seconds_left = state, datetime.now(UTC), None
        ended.message = message if message is not None else ended.message


def give_back(store: Store, request_id: int, message: str, taken_at: datetime | None = None) -> None:
    """Queue a taken request again: whoever ran it had to stop, and its run will be resumed.

    Of no effect where it was taken at another time than `taken_at`.
    """
    with store.writing() as session:
        returned = _request(session, request_id)
        if _is_anothers(returned, taken_at):
            return
        returned.state, returned.taken_at, returned.seconds_left = "queued", None, None
        returned.message = message


def _is_anothers(found: Request, taken_at: datetime | None) -> bool:
    return taken_at is not None and (found.state != "running" or found.taken_at != taken_at)


def cancel(store: Store, request_id: int, who: str, why: str | None = None) -> None:
    """Cancel a queued request at once; a running one stops when it next tells its progress.

    Raises:
        UsageError: there is none, or it has ended already.
    """
    with store.writing() as session:
        found = _request(session, request_id)
        if found.state not in ("queued", "running"):
            raise UsageError(f"request {request_id} is {found.state} already; there is nothing to cancel")
        now = datetime.now(UTC)
        request_events.add(session, request_id, now, who, "cancel", why)
        found.cancel_asked = True
        found.message = f"cancelled by {who}" + (f": {why}" if why else "")
        if found.state == "queued":
            found.state, found.finished_at = "cancelled", now


def _request(session: Session, request_id: int) -> Request:
    found = session.get(Request, request_id, with_for_update=True)
    if found is None:
        raise UsageError(f"there is no request {request_id}; `kswatch request --list` shows them")
    return found
