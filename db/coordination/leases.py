"""Who may record runs of a device now: one holder at a time, known by a number that only grows.

A holder that stops its heartbeat loses the lease when it expires; the next one gets a higher fencing
number, and the old one is refused from then on, however late it wakes up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from kswatch.db.backend.bulk_insert import insert_rows
from kswatch.db.schema.tables import Lease
from kswatch.db.store import Store
from kswatch.errors import MeasurementError

LEASE_SECONDS = 120.0
"""How long a lease lasts without a heartbeat."""


@dataclass(frozen=True)
class Held:
    """A lease, as its holder knows it."""

    device_uuid: str
    holder: str
    fencing: int


def acquire(
    store: Store,
    device_uuid: str,
    holder: str,
    seconds: float = LEASE_SECONDS,
    gone: Callable[[str], bool] = lambda holder: False,
) -> Held:
    """Take the lease of a device that nobody holds, or whose holder fell silent or is gone.

    Args:
        store: to write to.
        device_uuid: of which device.
        holder: who takes it, as others will be told.
        seconds: how long it lasts without a heartbeat.
        gone: whether a holder is known to be dead, so that nobody waits for its lease to expire.

    Raises:
        MeasurementError: somebody holds it.
    """
    now = datetime.now(UTC)
    with store.writing() as session:
        free = {
            "device_uuid": device_uuid,
            "fencing": 0,
            "holder": "",
            "heartbeat_at": now,
            "expires_at": now,
        }
        insert_rows(session, Lease, [free], replace=False)
        lease = _lease(session, device_uuid)
        if lease.expires_at > now and not gone(lease.holder):
            silent_s = (now - lease.heartbeat_at).total_seconds()
            raise MeasurementError(
                f"device {device_uuid} is being measured by {lease.holder} (last sign {silent_s:.0f} s ago); "
                "wait for it to end, or stop it"
            )
        lease.fencing += 1
        lease.holder = holder
        lease.heartbeat_at, lease.expires_at = now, now + timedelta(seconds=seconds)
        return Held(device_uuid, holder, lease.fencing)


def holder_of(store: Store, device_uuid: str) -> str | None:
    """Who holds the device; None where nobody does, or the holder fell silent."""
    with store.session() as session:
        lease = session.get(Lease, device_uuid)
        return lease.holder if lease and lease.expires_at > datetime.now(UTC) else None


def fencing_of(store: Store, device_uuid: str) -> int:
    """The number of the device's newest holder; 0 before the first."""
    with store.session() as session:
        lease = session.get(Lease, device_uuid)
        return lease.fencing if lease else 0


def heartbeat(store: Store, held: Held, seconds: float = LEASE_SECONDS) -> None:
    """Keep the lease.

    Raises:
        MeasurementError: it was lost, and somebody else may be measuring; stop recording.
    """
    with store.writing() as session:
        _keep(session, held, seconds)


@contextmanager
def fenced(store: Store, held: Held, seconds: float = LEASE_SECONDS) -> Iterator[None]:
    """Every write of this store inside keeps the lease in its own transaction, or is refused.

    Looking first and writing then would leave a gap in which a holder that slept past its lease
    could still write.

    Raises:
        MeasurementError: by each write after the lease was lost.
    """
    with store.guarded(lambda session: _keep(session, held, seconds)):
        yield


def _keep(session: Session, held: Held, seconds: float) -> None:
    now = datetime.now(UTC)
    if not _renew(session, held, now, now + timedelta(seconds=seconds)):
        raise MeasurementError(
            f"the lease of device {held.device_uuid} was lost (no heartbeat in time); "
            "this run stops here: `kswatch profile --resume` goes on with it"
        )


def release(store: Store, held: Held) -> None:
    """Give the lease back; of no effect when it was lost."""
    now = datetime.now(UTC)
    with store.writing() as session:
        _renew(session, held, now, now)


def _renew(session: Session, held: Held, now: datetime, expires_at: datetime) -> bool:
    mine = update(Lease).where(Lease.device_uuid == held.device_uuid, Lease.fencing == held.fencing)
    renewed = session.execute(mine.values(heartbeat_at=now, expires_at=expires_at).returning(Lease.fencing))
    return renewed.one_or_none() is not None


def _lease(session: Session, device_uuid: str) -> Lease:
    return session.scalars(select(Lease).where(Lease.device_uuid == device_uuid).with_for_update()).one()
