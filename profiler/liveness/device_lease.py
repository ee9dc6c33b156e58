"""The lease of a device, held while a run measures on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from kswatch.db.coordination import leases
from kswatch.db.coordination.leases import Held
from kswatch.db.store import Store
from kswatch.errors import KswatchError
from kswatch.profiler.liveness.process_identity import has_ended, this_process


@contextmanager
def hold_device(store: Store, device_uuid: str, timeout_s: float) -> Iterator[Held]:
    """Hold the device; the lease lasts `timeout_s` without a heartbeat.

    The lease of a process of this machine that was killed is taken over at once.

    Raises:
        DeviceBusyError: another process holds it; the message names it.
    """
    held = leases.acquire(store, device_uuid, this_process(), timeout_s, is_dead=has_ended)
    try:
        yield held
    finally:
        with suppress(KswatchError):
            leases.release(store, held)
