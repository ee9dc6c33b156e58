"""What a Dask worker does: measures on its one device, in a child process as a host of its own would.

The functions here are sent by name: worker and coordinator run the same commit, and the coordinator
refuses a worker that does not.
"""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from kswatch.db.records import CanaryRecord, MeasurementRecord, RevisionRecord
from kswatch.errors import MeasurementError
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.devices.environment import revision
from kswatch.profiler.devices.preflight import preflight
from kswatch.profiler.executors.base import MeasureTask, Place, Position
from kswatch.profiler.executors.local import LocalEngine, local_engine

DistantTask = MeasureTask | Position | None
"""A problem, canaries, or None: nothing but the place."""


@dataclass(frozen=True)
class About:
    """What a worker tells of itself."""

    host: str
    target: Target
    revision: RevisionRecord | None


@dataclass(frozen=True)
class Given:
    """What a task gave."""

    place: Place
    records: tuple[MeasurementRecord, ...] = ()
    canaries: tuple[CanaryRecord, ...] = ()
    busy_s: float = 0.0
    skipped_s: float = 0.0
    """Seconds that a simulated device only said to have taken."""


class _Post:
    """The one device of this worker process."""

    target: Target
    engine: LocalEngine | None = None
    stop = threading.Event()
    owner = ""
    """The run that is served now: one that lost its lease must not end the child of the next."""


def take_up(spec: str) -> Target:
    """Serve this device from now on."""
    _Post.target = devices.find(spec)
    return _Post.target


def about() -> About:
    """The device that this worker serves, and the commit that it runs."""
    return About(socket.gethostname(), _Post.target, revision(Path(__file__)))


def give_up(owner: str) -> None:
    """End what is being measured for this owner: its task raises `Stopped`."""
    if _Post.owner == owner:
        _Post.stop.set()


def let_go(owner: str) -> None:
    """End the child that served this owner, so that the device is free."""
    if _Post.owner == owner:
        _end_child()


def _end_child() -> None:
    if _Post.engine:
        _Post.engine.close()
    _Post.engine = None


def do(task: DistantTask, watchdog_s: float, owner: str) -> Given:
    """Do one task for a run in the device's child process.

    Raises:
        MeasurementError: the device cannot be used.
        Stopped: `give_up` was called meanwhile.
    """
    _Post.owner = owner
    engine = _engine(watchdog_s)
    busy_s, skipped_s = engine.busy_s, engine.skipped_s
    if task is None and (refusal := preflight(_Post.target).time_refusal):
        raise MeasurementError(refusal)
    given = Given(engine.place())
    if isinstance(task, MeasureTask):
        given = replace(given, records=tuple(engine.measure(task)))
    elif task is not None:
        given = replace(given, canaries=tuple(engine.canaries(task)))
    return replace(given, busy_s=engine.busy_s - busy_s, skipped_s=engine.skipped_s - skipped_s)


def _engine(watchdog_s: float) -> LocalEngine:
    if _Post.engine is None or _Post.stop.is_set():
        _end_child()
        _Post.stop = threading.Event()
        _Post.engine = local_engine(_Post.target, watchdog_s, _Post.stop)
    return _Post.engine
