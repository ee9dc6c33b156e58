"""Tasks of a Dask worker: it measures on its one device, in a child process as on a host of its own.

The functions here are sent by name: the coordinator sends them only to workers of its own version.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kswatch.db.records import CanaryRecord
from kswatch.errors import MeasurementError
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.devices.preflight import preflight
from kswatch.profiler.executors.base import Answer, MeasureTask, Task
from kswatch.profiler.executors.local import LocalEngine, local_engine
from kswatch.profiler.foreign.sources import Foreign

ANSWER_S = 10.0
"""How long the scheduler, or a worker, may take to answer; after that it counts as hung."""


@dataclass(frozen=True)
class WorkerDescription:
    """A worker's host and device."""

    host: str
    target: Target


class _State:
    """The one device of this worker process."""

    target: Target
    engine: LocalEngine | None = None
    stop = threading.Event()
    foreign = Foreign()
    """The foreign implementations that this host may measure, whatever its coordinator lists."""
    owner = ""
    """The run that is served now: one that lost its lease must not end the child of the next."""


def bind_device(spec: str, foreign: Foreign = Foreign()) -> Target:  # noqa: B008 (frozen)
    """Serve this device from now on, with these foreign implementations."""
    _State.target, _State.foreign = devices.find(spec), foreign
    return _State.target


def describe() -> WorkerDescription:
    """This worker."""
    return WorkerDescription(socket.gethostname(), _State.target)


def cancel(owner: str) -> None:
    """End the measurement of this owner: its task raises `Stopped`."""
    if _State.owner == owner:
        _State.stop.set()


def release(owner: str) -> None:
    """End the child that served this owner, so that the device is free."""
    if _State.owner == owner:
        _end_child()


def _end_child() -> None:
    if _State.engine:
        _State.engine.close()
    _State.engine = None


def execute(
    task: Task | None, watchdog_s: float, owner: str, canaries: Sequence[CanaryRecord] = ()
) -> Answer:
    """Execute one task of a run in the device's child process; the answer holds the site too.

    The run is `owner`, with these canaries so far. Without a task, the answer is the site alone.

    Raises:
        MeasurementError: the device cannot be used.
        Stopped: `cancel` was called meanwhile.
    """
    engine = _engine_for(owner, watchdog_s, canaries)
    busy_s, skipped_s = engine.busy_s, engine.skipped_s
    if task is None and (refusal := preflight(_State.target).time_refusal):
        raise MeasurementError(refusal)
    answer = Answer(site=engine.site())
    if isinstance(task, MeasureTask):
        answer = replace(answer, records=tuple(engine.measure(task)))
    elif task is not None:
        answer = replace(answer, canaries=tuple(engine.canaries(task)))
    return replace(answer, busy_s=engine.busy_s - busy_s, skipped_s=engine.skipped_s - skipped_s)


def _engine_for(owner: str, watchdog_s: float, canaries: Sequence[CanaryRecord]) -> LocalEngine:
    """The engine of this run; another run's is ended, since its canaries are not this run's."""
    is_new, _State.owner = _State.owner != owner, owner
    if _State.engine is None or _State.stop.is_set() or is_new:
        _end_child()
        _State.stop = threading.Event()
        _State.engine = local_engine(_State.target, watchdog_s, _State.stop, canaries, _State.foreign)
    return _State.engine
