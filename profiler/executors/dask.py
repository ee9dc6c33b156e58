"""Measures on a worker of a Dask cluster: the same child process, on another host.

Only the coordinator opens the store: workers give records back. A worker that dies loses its task; the
scheduler gives that task to the worker of the same device when it returns.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any
from uuid import uuid4

from kswatch.db.records import CanaryPosition, CanaryRecord, MeasurementRecord
from kswatch.errors import MeasurementError
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.empty_records import empty_record
from kswatch.profiler.executors import dask_tasks
from kswatch.profiler.executors.base import Cluster, MeasurementSite, MeasureTask, WorkerLostError
from kswatch.profiler.executors.dask_tasks import ANSWER_S, RemoteTask, TaskResult
from kswatch.profiler.signals import Stopped

_POLL_S = 0.2


class DaskEngine:
    """One device's worker, for one run."""

    def __init__(
        self, cluster: Cluster, target: Target, watchdog_s: float, stop: threading.Event, absent_s: float
    ) -> None:
        """Send nothing yet; a worker that is gone for `absent_s` counts as lost."""
        self.busy_s = 0.0
        self._skipped_s = 0.0
        self._cluster = cluster
        self._uuid = target.record.uuid
        self._watchdog_s = watchdog_s
        self._stop = stop
        self._absent_s = absent_s
        self._site: MeasurementSite | None = None
        self._owner = uuid4().hex
        self._canaries: tuple[CanaryRecord, ...] = ()

    def site(self) -> MeasurementSite:
        """See `Engine`."""
        if self._site is None:
            self._site = self._execute(None).site
        return self._site

    def measure(self, task: MeasureTask) -> list[MeasurementRecord]:
        """See `Engine`; where the problem crashes every worker that measures it, its cells crashed."""
        from distributed import KilledWorker

        try:
            return list(self._execute(task).records)
        except KilledWorker as error:
            reason = f"the worker died whenever it measured this problem: {error}"
            return [empty_record(task.problem, name, "crashed", reason) for name in task.implementations]

    def canaries(self, position: CanaryPosition) -> list[CanaryRecord]:
        """See `Engine`."""
        read = self._execute(position).canaries
        self._canaries += read
        return list(read)

    def now_s(self) -> float:
        """See `Engine`."""
        return time.monotonic() + self._skipped_s

    def close(self) -> None:
        """Let the worker end its child; it stays for other runs."""
        self._cluster.call(self._uuid, dask_tasks.release, self._owner)

    def _execute(self, task: RemoteTask) -> TaskResult:
        future = self._submit(task)
        seen_s = time.monotonic()
        try:
            while (result := self._result(future)) is None:
                seen_s = self._last_seen(future, seen_s)
                if future.status in ("lost", "cancelled"):  # the scheduler restarted
                    future = self._submit(task)
        finally:
            with suppress(Exception):  # it is of no use any more
                future.release()
        self._require_same_environment(result.site)
        self.busy_s += result.busy_s
        self._skipped_s += result.skipped_s
        return result

    def _submit(self, task: RemoteTask) -> Any:  # noqa: ANN401  (a Dask future)
        arguments = (task, self._watchdog_s, self._owner, self._canaries)
        return self._cluster.submit(self._uuid, dask_tasks.execute, *arguments)

    def _result(self, future: Any) -> TaskResult | None:  # noqa: ANN401
        """The result of the task; None while it is not over, or its worker does not hand it out."""
        from distributed import CancelledError

        try:
            result: TaskResult = future.result(timeout=_POLL_S if future.status == "pending" else ANSWER_S)
        except (CancelledError, TimeoutError):
            if future.status == "error":  # the task's own
                raise
            return None
        return result

    def _last_seen(self, future: Any, seen_s: float) -> float:  # noqa: ANN401
        """When the worker was last seen: now, or still `seen_s`, by the monotonic clock.

        Raises:
            Stopped: the run was asked to stop meanwhile.
            WorkerLostError: the worker is gone and did not return in time.
        """
        if self._stop.is_set():
            self._cluster.call(self._uuid, dask_tasks.cancel, self._owner)
            future.cancel()
            raise Stopped
        if self._cluster.has_worker(self._uuid):
            return time.monotonic()
        if time.monotonic() - seen_s > self._absent_s:
            future.cancel()
            raise WorkerLostError(
                f"the worker of device {self._uuid} was gone for {self._absent_s:.0f} s; "
                "its run is resumed when it returns: start `kswatch worker` there"
            )
        return seen_s

    def _require_same_environment(self, site: MeasurementSite) -> None:
        if self._site and site.environment != self._site.environment:
            raise MeasurementError(
                f"the worker of device {self._uuid} came back in another environment: "
                "this run cannot continue there; begin a new one"
            )
