"""The interface between a run and the process that measures its problems, wherever that is.

Tasks and answers are frozen values that pickle: messages between processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kswatch.db.records import (
    CanaryPosition,
    CanaryRecord,
    DeviceRecord,
    EnvironmentRecord,
    MeasurementRecord,
)
from kswatch.errors import MeasurementError
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.foreign.sources import Foreign
from kswatch.profiler.settings import MeasureSettings
from kswatch.profiler.subjects.problems import AnyProblem


@dataclass(frozen=True)
class MeasureTask:
    """Measure one problem by these implementations."""

    problem: AnyProblem
    implementations: tuple[str, ...]
    settings: MeasureSettings = MeasureSettings()
    energy: bool = False
    seed: int = 0


@dataclass(frozen=True)
class MeasurementSite:
    """A device and its environment, as the measuring process sees them: no other process needs torch."""

    device: DeviceRecord
    environment: EnvironmentRecord
    libraries: dict[str, object] = field(default_factory=dict)
    """Versions of the libraries of each rival and of each foreign implementation that is here."""


@dataclass(frozen=True)
class Begin:
    """The first message to a child: the device that it measures on, as it sees that device itself."""

    target: Target
    canaries: tuple[CanaryRecord, ...] = ()
    """Those that the run has read so far, by processes that have ended."""
    foreign: Foreign = Foreign()
    """The foreign implementations that this host may measure."""


Task = MeasureTask | CanaryPosition
"""Measure a problem, or read the canaries at this position of the run."""


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
    stalled: bool = False
    """Whether the child was ended because it made no progress."""


class WorkerLostError(MeasurementError):
    """The worker of a device stayed away for too long: its run is resumed when it returns."""


class Engine(Protocol):
    """Measures on one device for one run; gives records back and never opens the store.

    Every call may raise `Stopped` when the run was asked to stop meanwhile, and `MeasurementError`
    when the device can no longer be used.
    """

    def site(self) -> MeasurementSite:
        """The device and its environment."""

    def measure(self, task: MeasureTask) -> Sequence[MeasurementRecord]:
        """A record for each implementation, failed ones included."""

    def canaries(self, position: CanaryPosition) -> Sequence[CanaryRecord]:
        """The device's canaries, read now; none where reading them failed.

        The engine keeps them: they are the roofline of the problems that follow.
        """

    @property
    def busy_s(self) -> float:
        """Seconds of kernels, warm-up and energy windows so far; the rest of a run is the harness."""

    def now_s(self) -> float:
        """A clock that never goes backwards; the clock of a simulated device runs ahead of the host's."""

    def close(self) -> None:
        """Release the device."""
