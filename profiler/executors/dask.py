"""Measures on a worker of a Dask cluster: the same child process, on another host.

Only the coordinator knows the store: workers give records back. A worker that dies takes its task with
it; the scheduler gives that task to the worker of the same device when it returns.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from kswatch.db.records import CanaryRecord, MeasurementRecord
from kswatch.errors import MeasurementError
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.empty_records import unmeasured
from kswatch.profiler.executors import dask_tasks as distant
from kswatch.profiler.executors.base import MeasureTask, Place, Position, WorkerLostError
from kswatch.profiler.executors.dask_tasks import DistantTask, Given
from kswatch.profiler.signals import Stopped

if TYPE_CHECKING:
    from kswatch.profiler.executors.dask_cluster import Cluster

_LOOK_EVERY_S = 0.2
ANSWER_S = 10.0
"""How long the scheduler, or a worker, may take to answer; a hung one is asked again, or told no more."""


class DaskEngine:
    """One device's worker, for one run."""

    def __init__(
        self, cluster: Cluster, target: Target, watchdog_s: float, stop: threading.Event, absent_s: float
    ) -> None:
        """Send nothing yet; a worker that is gone for `absent_s` is not waited for any longer."""
        self.busy_s = 0.0
        self._skipped_s = 0.0
        self._cluster = cluster
        self._uuid = target.record.uuid
        self._watchdog_s = watchdog_s
        self._stop = stop
        self._absent_s = absent_s
        self._place: Place | None = None
        self._owner = uuid4().hex

    def place(self) -> Place:
        """See `Engine`."""
        if self._place is None:
            self._place = self._ask(None).place
        return self._place

    def measure(self, task: MeasureTask) -> list[MeasurementRecord]:
        """See `Engine`; where the problem takes every worker down with it, its cells crashed."""
        from distributed import KilledWorker

        try:
            return list(self._ask(task).records)
        except KilledWorker as error:
            reason = f"the worker died whenever it measured this problem: {error}"
            return [unmeasured(task.problem, name, "crashed", reason) for name in task.implementations]

    def canaries(self, position: Position) -> list[CanaryRecord]:
        """See `Engine`."""
        return list(self._ask(position).canaries)

    def now_s(self) -> float:
        """See `Engine`."""
        return time.monotonic() + self._skipped_s

    def close(self) -> None:
        """Let the worker end its child; it stays for other runs."""
        self._cluster.tell(self._uuid, distant.let_go, self._owner)

    def _ask(self, task: DistantTask) -> Given:
        future = self._submit(task)
        seen_s = time.monotonic()
        try:
            while (given := self._given(future)) is None:
                seen_s = self._still_waits(future, seen_s)
                if future.status in ("lost", "cancelled"):  # the scheduler began anew
                    future = self._submit(task)
        finally:
            with suppress(Exception):  # of no use to anybody any more
                future.release()
        self._refuse_another_place(given.place)
        self.busy_s += given.busy_s
        self._skipped_s += given.skipped_s
        return given

    def _submit(self, task: DistantTask) -> Any:  # noqa: ANN401  (a Dask future)
        return self._cluster.submit(self._uuid, distant.do, task, self._watchdog_s, self._owner)

    def _given(self, future: Any) -> Given | None:  # noqa: ANN401
        """What the task gave; None where it is not over yet, or its worker does not hand it out now."""
        from distributed import CancelledError

        try:
            given: Given = future.result(timeout=_LOOK_EVERY_S if future.status == "pending" else ANSWER_S)
        except (CancelledError, TimeoutError):
            if future.status == "error":  # the task's own
                raise
            return None
        return given

    def _still_waits(self, future: Any, seen_s: float) -> float:  # noqa: ANN401
        """When the worker was last seen, `seen_s` unless it is here, by the monotonic clock.

        Raises:
            Stopped: the run was asked to stop meanwhile.
            WorkerLostError: the worker is gone and did not return in time.
        """
        if self._stop.is_set():
            self._cluster.tell(self._uuid, distant.give_up, self._owner)
            future.cancel()
            raise Stopped
        if self._cluster.is_here(self._uuid):
            return time.monotonic()
        if time.monotonic() - seen_s > self._absent_s:
            future.cancel()
            raise WorkerLostError(
                f"the worker of device {self._uuid} was gone for {self._absent_s:.0f} s; "
                "its run is resumed when it returns: start `kswatch worker` there"
            )
        return seen_s

    def _refuse_another_place(self, place: Place) -> None:
        if self._place and place.environment != self._place.environment:
            raise MeasurementError(
                f"the worker of device {self._uuid} came back in another environment: "
                "this run cannot go on there; begin a new one"
            )
