"""A probe: hooks around the visits to a cell, and a dict of its readings."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from kswatch.profiler.subjects.problems import AnyProblem


@dataclass(frozen=True)
class ProbedDevice:
    """What a device offers to probes."""

    kind: Literal["cpu", "cuda"]
    clock: Callable[[], float] = time.monotonic
    """Seconds; of a simulated device its own."""
    gpu: Any = None
    """NVML's handle; None on a CPU, and where there is no NVML."""
    nvml: Any = None
    """The module, or a simulated one."""
    counts_memory: bool = False
    """Whether torch's allocator counts what it allocates there."""


class Probe:
    """An instrument that reads cells visited in turns; `cell` is the implementation's name.

    A probe overrides the hooks that it needs. `start_problem` clears its readings.
    """

    readings: ClassVar[Mapping[str, str | None]] = {}
    """Name and unit (None for a plain number) of each reading that is no field of `MeasurementRecord`: a
    counter of its cell, so that pages, exports and imports have it without a column of its own."""

    @classmethod
    def on(cls, device: ProbedDevice) -> Probe | None:
        """The probe of a device; None where it reads none of this kind."""
        del device
        return cls()

    def start_problem(self, problem: AnyProblem) -> None:
        """Clear the readings of the previous problem."""

    def before_prepare(self, cell: str) -> None:
        """Called before the cell's weights are prepared."""

    def after_prepare(self, cell: str) -> None:
        """Called after the cell's weights are prepared."""

    def before_launch(self, cell: str) -> None:
        """Called before the single launch that estimates the cell's latency; not the cell's first launch."""

    def after_launch(self, cell: str) -> None:
        """Called after the single launch."""

    def before_visit(self, cell: str) -> None:
        """Called right before a visit; must return within tens of microseconds."""

    def after_visit(self, cell: str) -> None:
        """Called right after a visit, when the device is idle again."""

    def results(self, cell: str) -> Mapping[str, Any]:
        """Fields of `MeasurementRecord` and `readings` by name; `flags` are appended to the cell's flags."""
        return {}
