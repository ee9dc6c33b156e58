"""Device leases: one holder at a time may record a device's runs, identified by a growing fencing number.

A holder without heartbeat loses the lease when it expires. The next holder gets a higher number, and writes
of the old one are refused from then on, however late it resumes.
"""

from __future__ import annotations

import logging
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
"""Lifetime of a lease without a heartbeat."""


CLOCK_TOLERANCE = timedelta(seconds=60)
"""Clocks of hosts that share a store may differ by so much; a heartbeat further ahead is of a wrong clock."""

_log = logging.getLogger(__name__)


class DeviceBusyError(MeasurementError):
    """Another process holds the device: the same run can be begun once that ends."""


class LeaseLostError(DeviceBusyError):
    """Another process took the device over, since this one slept: its run can be resumed once that ends."""


@dataclass(frozen=True)
class Held:
    """A lease in the hands of its holder."""

    device_uuid: str
    holder: str
    fencing: int


def acquire(
    store: Store,
    device_uuid: str,
    holder: str,
    seconds: float = LEASE_SECONDS,
    is_dead: Callable[[str], bool] = lambda holder: False,
) -> Held:
    """Acquire the lease of a device that is free, or whose holder's lease expired or whose holder is dead.

    The lease of a holder that `is_dead` knows to be dead need not expire first.

    Raises:
        DeviceBusyError: another holder has the lease.
    """
    correct_future_leases(store)
    now = datetime.now(UTC)
    with store.writing() as session:
        free = {"fencing": 0, "holder": "", "heartbeat_at": now, "expires_at": now}
        insert_rows(session, Lease, [{"device_uuid": device_uuid, **free}], replace=False)
        lease = session.get_one(Lease, device_uuid, with_for_update=True)
        if lease.expires_at > now and not is_dead(lease.holder):
            quiet_s = max(0.0, (now - lease.heartbeat_at).total_seconds())
            raise DeviceBusyError(
                f"device {device_uuid} is being measured by {lease.holder} "
                f"(last heartbeat {quiet_s:.0f} s ago); "
                "wait for it to end, or stop it"
            )
        lease.fencing += 1
        lease.holder = holder
        lease.heartbeat_at, lease.expires_at = now, now + timedelta(seconds=seconds)
        return Held(device_uuid, holder, lease.fencing)


def holder_of(store: Store, device_uuid: str) -> str | None:
    """The device's holder; None where its lease is free or expired."""
    with store.session() as session:
        lease = session.get(Lease, device_uuid)
        return lease.holder if lease and lease.expires_at > datetime.now(UTC) else None


def future_leases(store: Store) -> list[str]:
    """Devices whose lease was renewed in the future, that is, by a clock that was ahead."""
    limit = datetime.now(UTC) + CLOCK_TOLERANCE
    query = select(Lease.device_uuid).where(Lease.heartbeat_at > limit).order_by(Lease.device_uuid)
    with store.session() as session:
        return list(session.scalars(query))


def correct_future_leases(store: Store) -> list[str]:
    """Set leases of a clock that was ahead to the present, and return their devices.

    Each keeps its length: a holder that lives renews it, one that has ended loses it when it expires.
    """
    if not future_leases(store):
        return []
    with store.writing() as session:
        now = datetime.now(UTC)
        limit = now + CLOCK_TOLERANCE
        ahead = session.scalars(select(Lease).where(Lease.heartbeat_at > limit).with_for_update()).all()
        for lease in ahead:
            _log.warning(
                "device %s: its last heartbeat, by %s, is of %s, in the future: it is set to now",
                lease.device_uuid,
                lease.holder,
                lease.heartbeat_at,
            )
            lease.heartbeat_at, lease.expires_at = now, now + (lease.expires_at - lease.heartbeat_at)
        return [lease.device_uuid for lease in ahead]


def heartbeat(store: Store, held: Held, seconds: float = LEASE_SECONDS) -> None:
    """Renew the lease.

    Raises:
        LeaseLostError: another process may be measuring; stop recording.
    """
    with store.writing() as session:
        _renew_or_refuse(session, held, seconds)


@contextmanager
def fenced(store: Store, held: Held, seconds: float = LEASE_SECONDS) -> Iterator[None]:
    """Inside, every write of this store renews the lease in the same transaction, or is refused.

    Checking first and writing afterwards would let a holder that slept past its lease write in between.

    Raises:
        LeaseLostError: by each write after the lease was lost.
    """
    with store.guarded(lambda session: _renew_or_refuse(session, held, seconds)):
        yield


def _renew_or_refuse(session: Session, held: Held, seconds: float) -> None:
    now = datetime.now(UTC)
    if not _renew(session, held, now, now + timedelta(seconds=seconds)):
        raise LeaseLostError(
            f"the lease of device {held.device_uuid} was lost (no heartbeat in time); "
            "this run stops here: `kswatch profile --resume` continues it"
        )


def release(store: Store, held: Held) -> None:
    """Release the lease; without effect when it was lost."""
    now = datetime.now(UTC)
    with store.writing() as session:
        _renew(session, held, now, now)


def _renew(session: Session, held: Held, now: datetime, expires_at: datetime) -> bool:
    own = update(Lease).where(Lease.device_uuid == held.device_uuid, Lease.fencing == held.fencing)
    renewed = session.execute(own.values(heartbeat_at=now, expires_at=expires_at).returning(Lease.fencing))
    return renewed.one_or_none() is not None
