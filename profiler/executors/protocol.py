"""Messages between a measuring process and its parent; frozen values that pickle."""

from __future__ import annotations

from dataclasses import dataclass

from kswatch.db.records import CanaryPosition, CanaryRecord, MeasurementRecord
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.executors.base import MeasurementSite, MeasureTask


@dataclass(frozen=True)
class Begin:
    """The first message to a child: the device that it measures on, as it sees that device itself."""

    target: Target
    canaries: tuple[CanaryRecord, ...] = ()
    """Those that the run has read so far, by processes that have ended."""


@dataclass(frozen=True)
class CanaryTask:
    """Read the canaries."""

    position: CanaryPosition


Task = MeasureTask | CanaryTask


@dataclass(frozen=True)
class Answer:
    """The result of `Begin` (a site) or of a task."""

    records: tuple[MeasurementRecord, ...] = ()
    canaries: tuple[CanaryRecord, ...] = ()
    site: MeasurementSite | None = None
    busy_s: float = 0.0
    """Seconds that the device was busy with it."""
    skipped_s: float = 0.0
    """Seconds that only a simulated device's clock advanced."""
    usable: bool = True
    """Whether the child can do another task; not after an error that stays with its process."""


@dataclass(frozen=True)
class Failure:
    """A task raised, or the child is lost: the reason, and which implementation was running, if known."""

    reason: str
    at: str | None = None
    usable: bool = False
    """Whether the child can do another task."""
