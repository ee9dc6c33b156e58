"""What parent and child tell each other beside tasks; plain frozen values that pickle."""

from __future__ import annotations

from dataclasses import dataclass

from kswatch.db.records import CanaryRecord, MeasurementRecord
from kswatch.profiler.executors.base import MeasureTask, Place, Position


@dataclass(frozen=True)
class Begin:
    """The first word to a child: the device that it may use."""

    device: str


@dataclass(frozen=True)
class CanaryTask:
    """Read the canaries."""

    position: Position


Task = MeasureTask | CanaryTask


@dataclass(frozen=True)
class Answer:
    """What `Begin` (a place) or a task gave."""

    records: tuple[MeasurementRecord, ...] = ()
    canaries: tuple[CanaryRecord, ...] = ()
    place: Place | None = None
    busy_s: float = 0.0
    """Seconds that the device was busy with it."""
    skipped_s: float = 0.0
    """Seconds that a simulated device only said to have taken."""
    usable: bool = True
    """Whether the child can go on with another task; not after an error that stays with its process."""


@dataclass(frozen=True)
class Failure:
    """A task raised, or the child is gone: why, and which implementation was running, if known."""

    reason: str
    at: str | None = None
    usable: bool = False
    """Whether the child can go on with another task."""
