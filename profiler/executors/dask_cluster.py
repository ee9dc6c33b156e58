"""A Dask cluster as the coordinator sees it: which devices have a worker now."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from kswatch.db.coordination.workers import Heartbeat
from kswatch.db.records import DeviceRecord
from kswatch.errors import ConfigurationError, MeasurementError
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.executors import dask_tasks
from kswatch.profiler.executors.dask import DaskEngine
from kswatch.profiler.executors.dask_tasks import ANSWER_S, WorkerDescription
from kswatch.profiler.executors.dask_version import kswatch_device, own_version, version_refusal
from kswatch.profiler.liveness.heartbeat import repeating, worker_name

REFRESH_S = 1.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Member:
    """A worker that the scheduler knows now."""

    address: str
    description: WorkerDescription


class DaskCluster:
    """The workers of one scheduler, listed every second by a thread of its own."""

    def __init__(self, scheduler: str, absent_s: float) -> None:
        """Connect.

        Args:
            scheduler: Its address, as `tcp://host:8786`.
            absent_s: How long a run waits for a worker that is gone.

        Raises:
            ConfigurationError: Dask is not installed, or no scheduler answers there.
        """
        self._client = _connect(scheduler)
        self._absent_s = absent_s
        self._version = own_version()
        self._members: dict[str, Member] = {}
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
        """List the workers again; none, where the scheduler does not answer."""
        try:
            known = self._client.sync(
                self._client.scheduler.identity, n_workers=-1, callback_timeout=ANSWER_S
            )
            usable = self._refuse_other_versions(known["workers"])
            self._describe_new(usable)
        except Exception:  # whatever a lost connection raises: the next refresh is in a second
            self._members = {}
            return
        found = ((address, self._descriptions.get(address)) for address in usable)
        members = [Member(address, description) for address, description in found if description]
        self._members = {member.description.target.record.uuid: member for member in members}

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

    def _describe_new(self, addresses: list[str]) -> None:
        known = {address: one for address, one in self._descriptions.items() if address in addresses}
        new = [address for address in addresses if address not in known]
        self._descriptions = known | (self._run(dask_tasks.describe, workers=new) if new else {})

    def targets(self) -> tuple[Target, ...]:
        """The devices that have a worker now; of one that is refused only the UUID is known."""
        others = sorted(self._refused.keys() - self._members.keys())
        refused = (Target(DeviceRecord(uuid, _kind(uuid), uuid), "") for uuid in others)
        return (*(member.description.target for _, member in sorted(self._members.items())), *refused)

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
        hosts = {uuid: member.description.host for uuid, member in self._members.items()}
        return [
            Heartbeat(worker_name(host, uuid), "worker", "dask", host, uuid, running.get(uuid))
            for uuid, host in hosts.items()
        ]

    def engine(self, target: Target, watchdog_s: float, stop: threading.Event) -> DaskEngine:
        """An engine that measures on the worker of that device."""
        return DaskEngine(self, target, watchdog_s, stop, self._absent_s)

    def submit(self, uuid: str, function: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401
        """See `Cluster`; a Dask future."""
        return self._client.submit(function, *arguments, resources={uuid: 1}, pure=False)

    def call(self, uuid: str, function: Callable[..., object], *arguments: object) -> None:
        """See `Cluster`."""
        member = self._members.get(uuid)
        if member:
            with suppress(Exception):
                self._run(function, *arguments, workers=[member.address])

    def _run(self, function: Callable[..., Any], *arguments: object, workers: list[str]) -> Any:  # noqa: ANN401
        """Results by address, after a limited time: a worker that hangs must not block its coordinator."""
        return self._client.run(
            function, *arguments, workers=workers, on_error="ignore", callback_timeout=ANSWER_S
        )


def _kind(uuid: str) -> Literal["cpu", "cuda"]:
    return "cpu" if uuid.startswith("cpu-") else "cuda"


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
