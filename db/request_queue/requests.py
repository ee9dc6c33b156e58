"""The queue of requested runs, which `kswatch serve` runs: submission, progress, end and cancellation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from kswatch.db.config import RequestLimits
from kswatch.db.queries.alerts import RequestRow, request, requests
from kswatch.db.records import RunKind
from kswatch.db.request_queue import events as request_events
from kswatch.db.request_queue.estimates import estimate
from kswatch.db.schema.tables import Request
from kswatch.db.store import Store
from kswatch.errors import UsageError
from kswatch.services import TimingLimits

End = Literal["done", "failed", "cancelled"]


@dataclass(frozen=True)
class RequestedRun:
    """A run to be queued.

    `device` is cpu, a UUID or a model name; `arguments` are the suite's filters, as in `RunRecord.arguments`,
    and optionally `budget`, equal to `budget_s`. The highest priority is taken first, then the oldest.
    """

    suite: str
    device: str
    asked_by: str
    why: str | None = None
    arguments: Mapping[str, object] = field(default_factory=dict)
    kind: RunKind = "ad_hoc"
    priority: int = 0
    cells: int | None = None
    budget_s: float | None = None


def submit(
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
    limits: RequestLimits | None = None,
    timing: TimingLimits = TimingLimits(),  # noqa: B008 (frozen)
) -> int:
    """Queue a run (see `RequestedRun`) and return the request's id; it is checked when it is taken.

    The duration is estimated where the cells are known. Without `limits` no size is refused.

    Raises:
        UsageError: it costs too much, or this user submitted too many requests within the last hour.
    """
    run = RequestedRun(suite, device, asked_by, why, arguments or {}, kind, priority, cells, budget_s)
    estimated_s = estimate(store, suite, device, run.arguments, timing, cells).seconds
    with store.writing() as session:
        if limits:
            seconds = min(filter(None, (estimated_s, budget_s)), default=None)
            reason = limits.refusal(cells, seconds) or _too_often(session, limits, asked_by)
            if reason:
                raise UsageError(f"this request is refused: {reason}")
        return add(session, run, estimated_s)


def add(session: Session, run: RequestedRun, estimated_s: float | None = None) -> int:
    """Queue a run in the caller's transaction, and return the request's id."""
    seconds = min(filter(None, (estimated_s, run.budget_s)), default=None)
    now = datetime.now(UTC)
    submitted = Request(
        suite=run.suite,
        device=run.device,
        asked_by=run.asked_by,
        why=run.why,
        arguments=dict(run.arguments),
        kind=run.kind,
        priority=run.priority,
        asked_at=now,
        cells_planned=run.cells,
        seconds_planned=seconds if estimated_s else None,  # a budget alone is no estimate
    )
    session.add(submitted)
    session.flush()
    request_events.add(session, submitted.id, now, run.asked_by, "ask", run.why)
    return submitted.id


def _too_often(session: Session, limits: RequestLimits, user: str) -> str | None:
    now = datetime.now(UTC)
    recent = (Request.asked_by == user, Request.asked_at > now - timedelta(hours=1), Request.asked_at <= now)
    count = session.scalar(select(func.count()).select_from(Request).where(*recent)) or 0
    if count < limits.requests_per_hour:
        return None
    return f"{user} requested {count} runs within the last hour, which is the limit; wait for those to run"


def queued(store: Store) -> list[RequestRow]:
    """The queued requests in the order of their turn: the highest priority first, then the oldest."""
    waiting = requests(store, states=("queued",), limit=None)
    return sorted(waiting, key=lambda request: (-request.priority, request.id))


def take(store: Store, request_id: int) -> RequestRow | None:
    """Mark a queued request as running, and return it; None where it is no longer queued."""
    with store.writing() as session:
        own = select(Request).where(Request.state == "queued", Request.id == request_id)
        # skipping locked rows has no effect in SQLite, whose write lock is held already
        taken = session.scalars(own.with_for_update(skip_locked=True)).one_or_none()
        if taken is None:
            return None
        taken.state, taken.taken_at = "running", datetime.now(UTC)
    return request(store, request_id)


def record_plan(store: Store, request_id: int, cells: int, seconds: float | None) -> None:
    """Record the size of a queued request, once it is known."""
    with store.writing() as session:
        queued = _request(session, request_id)
        queued.cells_planned, queued.seconds_planned = cells, seconds


def record_wait_reason(store: Store, request_id: int, message: str) -> None:
    """Record why a queued request has to wait."""
    with store.writing() as session:
        queued = _request(session, request_id)
        if queued.state == "queued":
            queued.message = message


def record_progress(
    store: Store,
    request_id: int,
    cells_done: int,
    cells_planned: int | None = None,
    seconds_left: float | None = None,
    message: str | None = None,
) -> bool:
    """Record the progress of a running request; True when it is to be cancelled."""
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
    """Record how a taken request ended, with a message.

    Without effect if it was taken at another time than `taken_at`, that is, by another process since.
    """
    with store.writing() as session:
        ended = _request(session, request_id)
        if _taken_by_another(ended, taken_at):
            return
        ended.state, ended.finished_at, ended.seconds_left = state, datetime.now(UTC), None
        ended.message = message if message is not None else ended.message


def requeue(store: Store, request_id: int, message: str, taken_at: datetime | None = None) -> None:
    """Queue a taken request again, since its process had to stop; its run will be resumed.

    Without effect if it was taken at another time than `taken_at`.
    """
    with store.writing() as session:
        returned = _request(session, request_id)
        if _taken_by_another(returned, taken_at):
            return
        returned.state, returned.taken_at, returned.seconds_left = "queued", None, None
        returned.message = message


def _taken_by_another(found: Request, taken_at: datetime | None) -> bool:
    return taken_at is not None and (found.state != "running" or found.taken_at != taken_at)


def cancel(store: Store, request_id: int, user: str, why: str | None = None) -> None:
    """Cancel a queued request at once; a running one stops when it next records its progress.

    Raises:
        UsageError: there is none, or it has ended already.
    """
    with store.writing() as session:
        found = _request(session, request_id)
        if found.state not in ("queued", "running"):
            raise UsageError(f"request {request_id} is {found.state} already; there is nothing to cancel")
        now = datetime.now(UTC)
        request_events.add(session, request_id, now, user, "cancel", why)
        found.cancel_asked = True
        found.message = f"cancelled by {user}" + (f": {why}" if why else "")
        if found.state == "queued":
            found.state, found.finished_at = "cancelled", now


def _request(session: Session, request_id: int) -> Request:
    found = session.get(Request, request_id, with_for_update=True)
    if found is None:
        raise UsageError(f"there is no request {request_id}; `kswatch request --list` shows them")
    return found
