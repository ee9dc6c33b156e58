"""A Dask cluster as the coordinator sees it: which devices have a worker now, and how one measures.

A worker measures in the same child process as a host without a cluster, and gives records back: only the
coordinator opens the store. A worker that dies loses its task; the scheduler gives that task to the worker of
the same device when it returns.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from uuid import uuid4

from kswatch.db.coordination.workers import Heartbeat
from kswatch.db.records import CanaryPosition, CanaryRecord, DeviceRecord, MeasurementRecord
from kswatch.errors import ConfigurationError, MeasurementError
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.empty_records import empty_record
from kswatch.profiler.executors import dask_tasks
from kswatch.profiler.executors.base import Answer, MeasurementSite, MeasureTask, Task, WorkerLostError
from kswatch.profiler.executors.dask_tasks import ANSWER_S, WorkerDescription
from kswatch.profiler.executors.dask_version import kswatch_device, own_version, version_refusal
from kswatch.profiler.liveness.heartbeat import repeating, worker_name
from kswatch.profiler.signals import Stopped

REFRESH_S = 1.0
_POLL_S = 0.2
_log = logging.getLogger(__name__)


class DaskCluster:
    """The workers of one scheduler, listed every second by a thread of its own."""

    def __init__(self, scheduler: str, absent_s: float) -> None:
        """Connect to an address like `tls://host:8786`; a run waits `absent_s` for a worker that is gone.

        Raises:
            ConfigurationError: Dask is not installed, or no scheduler answers there.
        """
        self._scheduler = scheduler
        self._client = _connect(scheduler)
        self._absent_s = absent_s
        self._version = own_version()
        self._members: dict[str, tuple[str, WorkerDescription]] = {}
        """Address and description of each worker that the scheduler knows now, by the UUID of its device."""
        self._refused: dict[str, str] = {}
        self._descriptions: dict[str, WorkerDescription] = {}
        self._refreshing = repeating(REFRESH_S, self.refresh)
        self._refreshing.__enter__()

    def close(self) -> None:
        """Leave the scheduler; workers stay."""
        self._refreshing.__exit__(None, None, None)
        with suppress(Exception):
            self._client.close(timeout=2)

    def refresh(self) -> None:
        """List the workers again; none, where the scheduler does not answer.

        A client closes itself after some seconds without a scheduler: then a new one connects.
        """
        try:
            if self._client.status in ("closing", "closed"):
                self._client = _connect(self._scheduler)
            known = self._client.sync(
                self._client.scheduler.identity, n_workers=-1, callback_timeout=ANSWER_S
            )
            usable = self._refuse_other_versions(known["workers"])
            described = {key: one for key, one in self._descriptions.items() if key in usable}
            new = [address for address in usable if address not in described]
            self._descriptions = described | (self._run(dask_tasks.describe, workers=new) if new else {})
        except Exception:  # whatever a lost connection raises: the next refresh is in a second
            self._members = {}
            return
        found = ((address, self._descriptions.get(address)) for address in usable)
        self._members = {known.target.record.uuid: (address, known) for address, known in found if known}

    def _refuse_other_versions(self, workers: Mapping[str, Mapping[str, object]]) -> list[str]:
        """Addresses of the workers of this version; no class of ours is sent to, or taken from, any other."""
        usable, refused = [], {}
        for address, worker in workers.items():
            if (uuid := kswatch_device(worker)) is None:
                continue
            if (reason := version_refusal(uuid, worker, self._version)) is None:
                usable.append(address)
                continue
            refused[uuid] = reason
            if self._refused.get(uuid) != reason:
                _log.warning("%s", reason)
        self._refused = refused
        return usable

    def targets(self) -> tuple[Target, ...]:
        """The devices that have a worker now; of one that is refused only the UUID is known."""
        others = sorted(self._refused.keys() - self._members.keys())
        refused = (Target(DeviceRecord(uuid, devices.kind_of(uuid), uuid), "") for uuid in others)
        members = self._members
        return (*(members[uuid][1].target for uuid in sorted(members)), *refused)

    def find(self, spec: str) -> Target:
        """The one device with a worker that a name means, as `devices.discovery.find` understands it.

        Raises:
            MeasurementError: none or several are meant, or its worker runs another version.
        """
        target = devices.choose(spec, self.targets())
        if not self.has_worker(target.record.uuid):
            raise MeasurementError(self._refused[target.record.uuid])
        return target

    def has_worker(self, uuid: str) -> bool:
        """Whether the device has a worker now."""
        return uuid in self._members

    def heartbeats(self, running: Mapping[str, int]) -> list[Heartbeat]:
        """Heartbeats of the workers; `running` holds the run of each device that has one."""
        hosts = {uuid: known.host for uuid, (_, known) in self._members.items()}
        return [
            Heartbeat(worker_name(host, uuid), "worker", "dask", host, uuid, running.get(uuid))
            for uuid, host in hosts.items()
        ]

    def engine(self, target: Target, watchdog_s: float, stop: threading.Event) -> DaskEngine:
        """An engine that measures on the worker of that device."""
        return DaskEngine(self, target, watchdog_s, stop, self._absent_s)

    def submit(self, uuid: str, function: Callable[..., Any], *arguments: object) -> Any | None:  # noqa: ANN401
        """A Dask future of a task that only the device's worker may execute; None without a scheduler."""
        client = self._client
        if client.status != "running":
            return None
        try:
            return client.submit(function, *arguments, resources={uuid: 1}, pure=False)
        except Exception:  # whatever a client raises that closes at this moment
            if client.status == "running":
                raise
            return None

    def holds(self, future: Any) -> bool:  # noqa: ANN401  (a Dask future)
        """Whether the future is of the connection that exists now."""
        return future.client is self._client and self._client.status == "running"

    def call(self, uuid: str, function: Callable[..., object], *arguments: object) -> None:
        """Have the device's worker call a function at once, beside its task; without effect if it is gone."""
        if member := self._members.get(uuid):
            with suppress(Exception):
                self._run(function, *arguments, workers=[member[0]])

    def _run(self, function: Callable[..., Any], *arguments: object, workers: list[str]) -> Any:  # noqa: ANN401
        """Results by address, after a limited time: a worker that hangs must not block its coordinator."""
        return self._client.run(
            function, *arguments, workers=workers, on_error="ignore", callback_timeout=ANSWER_S
        )


class DaskEngine:
    """One device's worker, for one run."""

    def __init__(
        self, cluster: DaskCluster, target: Target, watchdog_s: float, stop: threading.Event, absent_s: float
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
            assert self._site is not None
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

    def _execute(self, task: Task | None) -> Answer:
        future, seen_s = None, time.monotonic()
        try:
            while True:
                future = future or self._submit(task)
                if (result := self._result(future)) is not None:
                    break
                seen_s = self._last_seen(future, seen_s)
                if future and (future.status in ("lost", "cancelled") or not self._cluster.holds(future)):
                    future = self._release(future)  # the scheduler restarted, or was away
        finally:
            self._release(future)
        if self._site and result.site and result.site.environment != self._site.environment:
            raise MeasurementError(
                f"the worker of device {self._uuid} came back in another environment: "
                "this run cannot continue there; begin a new one"
            )
        self.busy_s += result.busy_s
        self._skipped_s += result.skipped_s
        return result

    def _submit(self, task: Task | None) -> Any | None:  # noqa: ANN401  (a Dask future)
        arguments = (task, self._watchdog_s, self._owner, self._canaries)
        return self._cluster.submit(self._uuid, dask_tasks.execute, *arguments)

    @staticmethod
    def _release(future: Any) -> None:  # noqa: ANN401  (a Dask future)
        with suppress(Exception):  # it is of no use any more
            future.release()

    def _result(self, future: Any) -> Answer | None:  # noqa: ANN401
        """The result of the task; None while it is not over, or nobody hands it out."""
        from distributed import CancelledError

        if future is None:
            self._stop.wait(_POLL_S)
            return None
        try:
            result: Answer = future.result(timeout=_POLL_S if future.status == "pending" else ANSWER_S)
        except (CancelledError, TimeoutError, UnboundLocalError):
            # the last: Dask's `sync` has nothing to return where its own wait for the result was cancelled
            if future.status == "error":  # the task's own
                raise
            return None
        except Exception:
            if self._cluster.holds(future):
                raise
            return None  # of a connection that has ended
        return result

    def _last_seen(self, future: Any, seen_s: float) -> float:  # noqa: ANN401
        """When the worker was last seen: now, or still `seen_s`, by the monotonic clock.

        Raises:
            Stopped: the run was asked to stop meanwhile.
            WorkerLostError: the worker is gone and did not return in time.
        """
        if self._stop.is_set():
            self._cluster.call(self._uuid, dask_tasks.cancel, self._owner)
            self._cancel(future)
            raise Stopped
        if self._cluster.has_worker(self._uuid):
            return time.monotonic()
        if time.monotonic() - seen_s > self._absent_s:
            self._cancel(future)
            raise WorkerLostError(
                f"the worker of device {self._uuid} was gone for {self._absent_s:.0f} s; "
                "its run is resumed when it returns: start `kswatch worker` there"
            )
        return seen_s

    @staticmethod
    def _cancel(future: Any) -> None:  # noqa: ANN401  (a Dask future)
        with suppress(Exception):  # its scheduler may be away
            future.cancel()


def _connect(scheduler: str) -> Any:  # noqa: ANN401  (a Dask client)
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"engine dask needs the Python package {error.name}; install kswatch[cluster]"
        ) from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        return Client(scheduler, timeout=ANSWER_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"no Dask scheduler answers at {scheduler} ({error}); start one with `dask scheduler`"
        ) from error
