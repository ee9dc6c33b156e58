"""The queue of asked-for runs: who asks, who takes one, how far it is. `kswatch serve` takes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import Request
from db.queries_judged import request
from db.records import RunKind
from db.rows import RequestRow
from db.store import Store
from kswatch_errors import UsageError

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
) -> int:
    """Queue a run and give the request's id; whether it can be run is found when it is taken.

    Args:
        store: to write to.
        suite: by name.
        device: as the asker names it: cpu, a UUID, a model name.
        asked_by: who.
        why: what for.
        arguments: the suite's filters, as `RunRecord.arguments`.
        kind: of the run.
        priority: the highest is taken first, then the oldest.
    """
    with store.writing() as session:
        asked = Request(
            suite=suite,
            device=device,
            asked_by=asked_by,
            why=why,
            arguments=dict(arguments or {}),
            kind=kind,
            priority=priority,
            asked_at=datetime.now(UTC),
        )
        session.add(asked)
        session.flush()
        return asked.id


def take_next(store: Store) -> RequestRow | None:
    """The request whose turn it is, now `running` and nobody else's; None when the queue is empty."""
    with store.writing() as session:
        queued = (
            select(Request)
            .where(Request.state == "queued")
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


def finish(store: Store, request_id: int, state: End = "done", message: str | None = None) -> None:
    """Write how a taken request ended, with what is to be said of it."""
    with store.writing() as session:
        ended = _request(session, request_id)
        ended.state, ended.finished_at, ended.seconds_left = state, datetime.now(UTC), None
        ended.message = message if message is not None else ended.message


def give_back(store: Store, request_id: int, message: str) -> None:
    """Queue a taken request again: whoever ran it had to stop, and its run will be resumed."""
    with store.writing() as session:
        returned = _request(session, request_id)
        returned.state, returned.taken_at, returned.seconds_left = "queued", None, None
        returned.message = message


def cancel(store: Store, request_id: int, who: str, why: str | None = None) -> None:
    """Cancel a queued request at once; a running one stops when it next tells its progress.

    Raises:
        UsageError: there is none, or it has ended already.
    """
    with store.writing() as session:
        found = _request(session, request_id)
        if found.state not in ("queued", "running"):
            raise UsageError(f"request {request_id} is {found.state} already; there is nothing to cancel")
        found.cancel_asked = True
        found.message = f"cancelled by {who}" + (f": {why}" if why else "")
        if found.state == "queued":
            found.state, found.finished_at = "cancelled", datetime.now(UTC)


def _request(session: Session, request_id: int) -> Request:
    found = session.get(Request, request_id, with_for_update=True)
    if found is None:
        raise UsageError(f"there is no request {request_id}; `kswatch request --list` shows them")
    return found
