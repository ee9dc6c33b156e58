"""The interface between a run and the process that measures its problems, wherever that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kswatch.db.records import (
    CanaryPosition,
    CanaryRecord,
    DeviceRecord,
    EnvironmentRecord,
    MeasurementRecord,
)
from kswatch.errors import MeasurementError
from kswatch.kernels.problem import Problem
from kswatch.profiler.settings import MeasureSettings


@dataclass(frozen=True)
class MeasureTask:
    """Measure one problem by these implementations."""

    problem: Problem
    implementations: tuple[str, ...]
    settings: MeasureSettings = MeasureSettings()
    energy: bool = False
    seed: int = 0


@dataclass(frozen=True)
class MeasurementSite:
    """A device and its environment, as the measuring process sees them: no other process needs torch."""

    device: DeviceRecord
    environment: EnvironmentRecord


class WorkerLostError(MeasurementError):
    """The worker of a device stayed away for too long: its run is resumed when it returns."""


class Engine(Protocol):
    """Measures on one device for one run; gives records back and never opens the store.

    Every call may raise `Stopped` when the run was asked to stop meanwhile, and `MeasurementError`
    when the device can no longer be used.
    """

    def site(self) -> MeasurementSite:
        """The device and its environment."""
        ...

    def measure(self, task: MeasureTask) -> Sequence[MeasurementRecord]:
        """A record for each implementation, failed ones included."""
        ...

    def canaries(self, position: CanaryPosition) -> Sequence[CanaryRecord]:
        """The device's canaries, read now; none where reading them failed.

        The engine keeps them: they are the roofline of the problems that follow.
        """
        ...

    @property
    def busy_s(self) -> float:
        """Seconds of kernels, warm-up and energy windows so far; the rest of a run is the harness."""
        ...

    def now_s(self) -> float:
        """A clock that never goes backwards; the clock of a simulated device runs ahead of the host's."""
        ...

    def close(self) -> None:
        """Release the device."""
        ...


class Cluster(Protocol):
    """Processes of other hosts, each with a device of its own."""

    def submit(self, uuid: str, function: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401
        """A future of a task that only the device's worker may execute."""
        ...

    def call(self, uuid: str, function: Callable[..., object], *arguments: object) -> None:
        """Have the device's worker call a function at once, beside its task; without effect if it is gone."""
        ...

    def has_worker(self, uuid: str) -> bool:
        """Whether the device has a worker now."""
        ...
