"""Heartbeats: of this process, of the device that it measures on, and of the lease that it holds."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from kswatch.db.coordination import leases
from kswatch.db.coordination.leases import Held
from kswatch.db.coordination.workers import Heartbeat, mark_stopped, record_heartbeat
from kswatch.db.queries import basic as queries
from kswatch.db.store import Store
from kswatch.errors import KswatchError, MeasurementError
from kswatch.profiler.liveness.process_identity import this_process

HEARTBEAT_S = 20.0
"""Between two heartbeats; `kswatch.db.coordination.workers.HEARTBEAT_TIMEOUT` is several of these."""


@contextmanager
def repeating(seconds: float, act: Callable[[], None]) -> Iterator[None]:
    """Call a function now, and then periodically from a thread of its own until the block ends.

    An exception of the first call is raised here; a later call that fails is repeated the next time.
    """
    act()
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(seconds):
            with suppress(KswatchError):
                act()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def coordinator_heartbeats(
    store: Store, engine: str, others: Callable[[Mapping[str, int]], Sequence[Heartbeat]]
) -> Iterator[None]:
    """Record heartbeats of this process as a coordinator until the block ends.

    `others` returns heartbeats of the workers that it watches, given the run of each device that has one.
    """
    own = Store(store.engine)  # a thread needs its own
    heartbeat = Heartbeat(this_process(), "coordinator", engine, socket.gethostname())

    def beat() -> None:
        running = {run.device_uuid: run.id for run in queries.runs(own, states=("running",), limit=None)}
        record_heartbeat(own, heartbeat, *others(running))

    with repeating(HEARTBEAT_S, beat):
        yield
    with suppress(KswatchError):
        mark_stopped(store, heartbeat.name)


class LeaseKeeper:
    """Renews the lease of a device while it is measured, and records heartbeats of its worker.

    Measuring one problem can take longer than a lease lasts. Where the lease was lost all the same (this
    process slept, or was cut off from the store), it stops the run.
    """

    def __init__(
        self, store: Store, held: Held, lease_s: float, stop: threading.Event, heartbeats: bool = True
    ) -> None:
        """Renew nothing yet; `stop` is set when the lease is lost, which lasts `lease_s` without renewal.

        `heartbeats` are the worker's, which the coordinator of a cluster records itself.
        """
        self.run_id: int | None = None
        """The run in progress, once it has begun."""
        self._store = Store(store.engine)
        self._held = held
        self._lease_s = lease_s
        self._stop = stop
        self._records_heartbeats = heartbeats
        self._lost: MeasurementError | None = None

    @contextmanager
    def keep_alive(self) -> Iterator[None]:
        """Renew the lease until the block ends.

        Raises:
            MeasurementError: the lease was lost meanwhile, whatever failed because of that.
        """
        try:
            with repeating(min(HEARTBEAT_S, self._lease_s / 4), self._renew):
                yield
        except KswatchError as error:
            with suppress(KswatchError):
                self._renew()
            if self._lost is None:
                raise
            raise self._lost from error
        if self._records_heartbeats:
            with suppress(KswatchError):
                mark_stopped(self._store, self._heartbeat().name)
        if self._lost:
            raise self._lost

    def _renew(self) -> None:
        try:
            leases.heartbeat(self._store, self._held, self._lease_s)
        except MeasurementError as error:
            self._lost = error
            self._stop.set()
            return
        if self._records_heartbeats:
            record_heartbeat(self._store, self._heartbeat())

    def _heartbeat(self) -> Heartbeat:
        host, uuid = socket.gethostname(), self._held.device_uuid
        return Heartbeat(worker_name(host, uuid), "worker", "local", host, uuid, self.run_id)


def worker_name(host: str, device_uuid: str) -> str:
    """The name of the worker of a device of that host, whichever process started it."""
    return f"{host} {device_uuid}"
