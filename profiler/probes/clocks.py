"""Clocks, temperature, throttle reasons and the total time of throttling, read after visits."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pynvml

from kswatch.profiler.probes.base import Probe, ProbedDevice
from kswatch.profiler.probes.nvml import value_or_none
from kswatch.profiler.subjects.problems import AnyProblem

READ_EVERY_S = 0.02
"""A reading takes about 0.2 ms: one per visit would cost 5 % of short visits."""

REASONS: tuple[tuple[int, str, str | None], ...] = (
    (0x004, "sw_power_cap", "power_capped"),
    (0x008, "hw_slowdown", "hardware_slowdown"),
    (0x020, "sw_thermal_slowdown", "thermal_slowdown"),
    (0x040, "hw_thermal_slowdown", "thermal_slowdown"),
    (0x080, "hw_power_brake", "hardware_slowdown"),
    (0x002, "application_clocks", None),
    (0x010, "sync_boost", None),
)
"""Bit of NVML's event reasons, its name, and the cell's flag; idle and display are left out."""

SLOWDOWN_FIELDS = (269, 270, 271)
"""Nanoseconds of software's and hardware's thermal slowdown and of the power brake (NVML field ids)."""


@dataclass(frozen=True)
class ClockReading:
    """State of the board right after a visit; None for unsupported readings."""

    sm_clock_mhz: float | None
    memory_clock_mhz: float | None
    temperature_c: float | None
    reasons: int


def read_clocks(gpu: Any, nvml: Any = pynvml) -> ClockReading:  # noqa: ANN401
    """Read the board behind an NVML handle."""
    return ClockReading(
        sm_clock_mhz=value_or_none(lambda: nvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM)),
        memory_clock_mhz=value_or_none(lambda: nvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_MEM)),
        temperature_c=value_or_none(lambda: nvml.nvmlDeviceGetTemperature(gpu, pynvml.NVML_TEMPERATURE_GPU)),
        reasons=_reasons(gpu, nvml),
    )


def _reasons(gpu: Any, nvml: Any) -> int:  # noqa: ANN401
    """Bits of the event reasons; drivers before 535 support the old name only."""
    for name in ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"):
        read = getattr(nvml, name, None)
        reasons = value_or_none(partial(read, gpu)) if read else None
        if reasons is not None:
            return int(reasons)
    return 0


class ClockProbe(Probe):
    """Medians of the clocks over a cell's visits, the highest temperature, and all throttle reasons."""

    def __init__(self, read: Callable[[], ClockReading], clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._seen: dict[str, list[ClockReading]] = defaultdict(list)
        self._read_at_s: dict[str, float] = {}

    @classmethod
    def on(cls, device: ProbedDevice) -> ClockProbe | None:
        """See `Probe`; it needs NVML."""
        if device.gpu is None:
            return None
        return cls(lambda: read_clocks(device.gpu, device.nvml), device.clock)

    def start_problem(self, problem: AnyProblem) -> None:
        """See `Probe`."""
        self._seen.clear()
        self._read_at_s.clear()

    def after_visit(self, cell: str) -> None:
        """See `Probe`."""
        now_s = self._clock()
        if now_s - self._read_at_s.get(cell, -READ_EVERY_S) >= READ_EVERY_S:
            self._read_at_s[cell] = now_s
            self._seen[cell].append(self._read())

    def results(self, cell: str) -> Mapping[str, Any]:
        """See `Probe`."""
        seen = self._seen[cell]
        reasons = 0
        for reading in seen:
            reasons |= reading.reasons
        named = [(name, label) for bit, name, label in REASONS if reasons & bit]
        return {
            "sm_clock_mhz": _of(statistics.median, [reading.sm_clock_mhz for reading in seen]),
            "memory_clock_mhz": _of(statistics.median, [reading.memory_clock_mhz for reading in seen]),
            "temperature_c": _of(max, [reading.temperature_c for reading in seen]),
            "event_reasons": ", ".join(name for name, _ in named) or None,
            "flags": tuple(label for _, label in named if label),
        }


def _of(summary: Callable[[list[float]], float], values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return summary(known) if known else None


def slowdown_clock(gpu: Any, nvml: Any = pynvml) -> Callable[[], float | None]:  # noqa: ANN401
    """A function that returns the seconds of throttling since the driver was loaded, or None if unsupported.

    Newer drivers count each reason; older ones count violations of the thermal policy. Power capping is
    normal on a loaded board and not included.
    """

    def by_fields() -> float | None:
        values = value_or_none(lambda: nvml.nvmlDeviceGetFieldValues(gpu, list(SLOWDOWN_FIELDS))) or ()
        known = [value.value.ullVal for value in values if value.nvmlReturn == pynvml.NVML_SUCCESS]
        return sum(known) / 1e9 if known else None

    def by_violations() -> float | None:
        policy = pynvml.NVML_PERF_POLICY_THERMAL
        status = value_or_none(lambda: nvml.nvmlDeviceGetViolationStatus(gpu, policy))
        return None if status is None else status.violationTime / 1e9

    return next((way for way in (by_fields, by_violations) if way() is not None), lambda: None)
