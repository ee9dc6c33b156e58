"""What a session needs of the place where problems are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from kswatch.db.records import CanaryRecord, DeviceRecord, EnvironmentRecord, MeasurementRecord
from kswatch.errors import MeasurementError
from kswatch.kernels.problem import Problem
from kswatch.profiler.settings import MeasureSettings

Position = Literal["start", "middle", "end"]


@dataclass(frozen=True)
class MeasureTask:
    """Measure one problem by these implementations."""

    problem: Problem
    implementations: tuple[str, ...]
    settings: MeasureSettings = MeasureSettings()
    energy: bool = False
    seed: int = 0
    canaries: tuple[CanaryRecord, ...] = ()
    """Those of the run so far: what the roofline is made of."""


@dataclass(frozen=True)
class Place:
    """Where an engine measures: told by the process that does it, so that nobody else needs torch."""

    device: DeviceRecord
    environment: EnvironmentRecord


class WorkerLostError(MeasurementError):
    """The process that measured on a device stayed away: its run is resumed when it returns."""


class Engine(Protocol):
    """Measures on one device, somewhere; gives records back and never opens the store.

    Every call may raise `Stopped` when the run was asked to stop meanwhile, and `MeasurementError`
    when the device can no longer be used.
    """

    def place(self) -> Place:
        """The device and its environment."""
        ...

    def measure(self, task: MeasureTask) -> Sequence[MeasurementRecord]:
        """A record for each implementation, whatever happened to it."""
        ...

    def canaries(self, position: Position) -> Sequence[CanaryRecord]:
        """The device's canaries, read now; none where reading them failed."""
        ...

    @property
    def busy_s(self) -> float:
        """Seconds of kernels, warm-up and energy windows so far; the rest of a run is the harness."""
        ...

    def now_s(self) -> float:
        """A clock that never goes backwards, and counts what a simulated device only said to take."""
        ...

    def close(self) -> None:
        """Let the device go."""
        ...
