"""Signs of life: of this process, of the device that it measures on, and of the lease that it holds."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from kswatch.db.coordination import leases
from kswatch.db.coordination.leases import Held
from kswatch.db.coordination.workers import Sign, say_alive, say_goodbye
from kswatch.db.queries import basic as queries
from kswatch.db.store import Store
from kswatch.errors import KswatchError, MeasurementError
from kswatch.profiler.liveness.device_lease import this_process

EVERY_S = 20.0
"""Between two signs of life; `kswatch.db.coordination.workers.SILENT_AFTER` is several of these."""


@contextmanager
def every(seconds: float, act: Callable[[], None]) -> Iterator[None]:
    """Does something now, and again and again from a thread of its own, until the block ends.

    What it raises at first is raised here; later on, what fails is tried again the next time.
    """
    act()
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(seconds):
            with suppress(KswatchError):
                act()

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def coordinating(
    store: Store,
    engine: str = "local",
    others: Callable[[Mapping[str, int]], Sequence[Sign]] = lambda running: (),
) -> Iterator[None]:
    """This process is a coordinator, and says so until the block ends.

    Args:
        store: Where it says so.
        engine: The name of its engine.
        others: Signs of those whom it hears of, given the run of each device that has one.
    """
    own = Store(store.engine)  # a thread needs its own
    sign = Sign(this_process(), "coordinator", engine, socket.gethostname())

    def say() -> None:
        running = {run.device_uuid: run.id for run in queries.runs(own, states=("running",), limit=None)}
        say_alive(own, sign, *others(running))

    with every(EVERY_S, say):
        yield
    with suppress(KswatchError):
        say_goodbye(store, sign.name)


class Heart:
    """Keeps the lease of a device while it is measured, and says that its worker is alive.

    Measuring one problem can take longer than a lease: the heart beats meanwhile. Where the lease
    was lost all the same (this process slept, or was cut off), it stops the run.
    """

    def __init__(
        self, store: Store, held: Held, lease_s: float, stop: threading.Event, signs: bool = True
    ) -> None:
        """Beat for `held`; `stop` is set when it is lost.

        Args:
            store: Where the lease is.
            held: The lease.
            lease_s: How long it lasts without a beat.
            stop: Ends the run.
            signs: Whether the worker's signs are written here, not by who watches a cluster.
        """
        self.run_id: int | None = None
        """The run under way, once it has begun."""
        self._store = Store(store.engine)
        self._held = held
        self._lease_s = lease_s
        self._stop = stop
        self._signs = signs
        self._lost: MeasurementError | None = None

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Beat until the block ends.

        Raises:
            MeasurementError: the lease was lost meanwhile, whatever failed because of that.
        """
        try:
            with every(min(EVERY_S, self._lease_s / 4), self._beat):
                yield
        except KswatchError as error:
            with suppress(KswatchError):
                self._beat()
            if self._lost is None:
                raise
            raise self._lost from error
        if self._signs:
            with suppress(KswatchError):
                say_goodbye(self._store, self._sign().name)
        if self._lost:
            raise self._lost

    def _beat(self) -> None:
        try:
            leases.heartbeat(self._store, self._held, self._lease_s)
        except MeasurementError as error:
            self._lost = error
            self._stop.set()
            return
        if self._signs:
            say_alive(self._store, self._sign())

    def _sign(self) -> Sign:
        host, uuid = socket.gethostname(), self._held.device_uuid
        return Sign(worker_name(host, uuid), "worker", "local", host, uuid, self.run_id)


def worker_name(host: str, device_uuid: str) -> str:
    """What the worker of a device of that host is called, whoever started it."""
    return f"{host} {device_uuid}"
