"""A Dask cluster as the coordinator sees it: which devices have a worker now."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kswatch.db.coordination.workers import Sign
from kswatch.errors import ConfigurationError, MeasurementError
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.devices.environment import revision
from kswatch.profiler.executors import dask_tasks as distant
from kswatch.profiler.executors.dask import ANSWER_S, DaskEngine
from kswatch.profiler.executors.dask_tasks import About
from kswatch.profiler.liveness.heartbeat import every, worker_name

LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class Member:
    """A worker that the scheduler knows now."""

    address: str
    about: About


class Cluster:
    """The workers of one scheduler; looked at every second by a thread of its own."""

    def __init__(self, scheduler: str, absent_s: float) -> None:
        """Connect.

        Args:
            scheduler: Its address, as `tcp://host:8786`.
            absent_s: How long a run waits for a worker that is gone.

        Raises:
            ConfigurationError: Dask is not installed, or nobody answers there.
        """
        self._client = _connect(scheduler)
        self._absent_s = absent_s
        self._members: dict[str, Member] = {}
        self._told: dict[str, About] = {}
        self._looking = every(LOOK_EVERY_S, self.look)
        self._looking.__enter__()

    def close(self) -> None:
        """Leave the scheduler; workers stay."""
        self._looking.__exit__(None, None, None)
        with suppress(Exception):
            self._client.close(timeout=2)

    def look(self) -> None:
        """Ask the scheduler who is there; nobody, where it does not answer."""
        try:
            known = self._client.sync(
                self._client.scheduler.identity, n_workers=-1, callback_timeout=ANSWER_S
            )
            workers: Mapping[str, Any] = known["workers"]
            self._ask_the_new(workers)
        except Exception:  # whatever a lost connection raises, it is looked at again in a second
            self._members = {}
            return
        members = (Member(address, self._told[address]) for address in workers if address in self._told)
        self._members = {member.about.target.record.uuid: member for member in members}

    def _ask_the_new(self, workers: Mapping[str, Any]) -> None:
        self._told = {address: about for address, about in self._told.items() if address in workers}
        new = [address for address in workers if address not in self._told]
        if new:
            told = self._run(distant.about, workers=new)
            self._told.update(told)

    def targets(self) -> tuple[Target, ...]:
        """The devices that have a worker now."""
        return tuple(member.about.target for _, member in sorted(self._members.items()))

    def find(self, spec: str) -> Target:
        """The one device with a worker that is meant, as `kswatch.profiler.devices.discovery.find` understands it.

        Raises:
            MeasurementError: none or several are meant, or its worker runs another commit.
        """
        target = devices.choose(spec, self.targets())
        here, there = revision(Path(__file__)), self._members[target.record.uuid].about.revision
        if (here and here.commit) != (there and there.commit):
            raise MeasurementError(
                f"the worker of device {target.record.uuid} runs commit {there and there.commit[:10]}, "
                f"this coordinator {here and here.commit[:10]}: bring both to the same one"
            )
        return target

    def is_here(self, uuid: str) -> bool:
        """Whether the device has a worker now."""
        return uuid in self._members

    def signs(self, running: Mapping[str, int]) -> list[Sign]:
        """Signs of life of the workers; `running` holds the run of each device that has one."""
        return [
            Sign(worker_name(one.about.host, uuid), "worker", "dask", one.about.host, uuid, running.get(uuid))
            for uuid, one in self._members.items()
        ]

    def engine(self, target: Target, watchdog_s: float, stop: threading.Event) -> DaskEngine:
        """Measures on the worker of that device."""
        return DaskEngine(self, target, watchdog_s, stop, self._absent_s)

    def submit(self, uuid: str, act: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401
        """A task that only the device's worker may do; a Dask future."""
        return self._client.submit(act, *arguments, resources={uuid: 1}, pure=False)

    def tell(self, uuid: str, act: Callable[..., object], *arguments: object) -> None:
        """Have the device's worker do something at once, beside its task; of no effect where it is gone."""
        member = self._members.get(uuid)
        if member:
            with suppress(Exception):
                self._run(act, *arguments, workers=[member.address])

    def _run(self, act: Callable[..., Any], *arguments: object, workers: list[str]) -> Any:  # noqa: ANN401
        """Bounded: a worker that hangs would hang whoever asks it, with the lease that he keeps."""
        return self._client.run(
            act, *arguments, workers=workers, on_error="ignore", callback_timeout=ANSWER_S
        )


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
