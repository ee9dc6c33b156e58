"""The common part of real and simulated GPU backends: timer, probes, energy, warm-up, throttling."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kswatch.profiler.backends.base import Backend
from kswatch.profiler.probes.base import ProbedDevice
from kswatch.profiler.probes.catalogue import probes_of
from kswatch.profiler.probes.clocks import ClockReading, read_clocks, slowdown_clock
from kswatch.profiler.probes.energy import EnergyMeter, SustainedLoad
from kswatch.profiler.probes.energy_nvml import NO_SENSOR, nvml_sources
from kswatch.profiler.probes.graph_load import GraphLoad
from kswatch.profiler.probes.timing import Launchable
from kswatch.profiler.probes.timing_cuda import CudaTimer
from kswatch.profiler.settings import MeasureSettings

NO_NVML = "no energy: NVML does not know this GPU"
READ_EVERY_S = 0.5
FLAT_READINGS = 4
FLAT_CLOCK = 0.01
FLAT_C = 1.0


@dataclass(frozen=True)
class Driver:
    """Access to a GPU: torch's CUDA and NVML, or simulated ones."""

    cuda: Any
    nvml: Any
    gpu: Any
    """NVML's handle; None where NVML does not know the GPU."""
    clock: Callable[[], float]
    pause: Callable[[float], None]


class GpuBackend(Backend):
    """A GPU with clock readings, an energy meter and warm-up."""

    timer: CudaTimer
    counts_memory = False
    """Whether torch's allocator counts what it allocates there."""

    def __init__(
        self, driver: Driver, model: str, timer: CudaTimer, cache_bytes: int, refusal: str | None
    ) -> None:
        """Set up the probes and the energy meter; `refusal` is the reason why energy is not measured."""
        self._driver = driver
        self.timer = timer
        self.cache_bytes = cache_bytes
        self.energy_refusal = refusal
        self._idle_since_s: float | None = None
        self._throttled_s: Callable[[], float | None] = lambda: None
        self.probes = probes_of(
            ProbedDevice("cuda", driver.clock, driver.gpu, driver.nvml, self.counts_memory)
        )
        if driver.gpu is None:
            self.energy_refusal = refusal or NO_NVML
            return
        self._throttled_s = slowdown_clock(driver.gpu, driver.nvml)
        sources = nvml_sources(driver.gpu, model, driver.nvml, driver.clock)
        if sources and not refusal:
            second = sources[1] if len(sources) > 1 else None
            self.energy_meter = EnergyMeter(sources[0], second, driver.clock, driver.pause)
        elif not refusal:
            self.energy_refusal = NO_SENSOR

    def sustained_load(self, launchable: Launchable, estimate_ms: float) -> SustainedLoad:
        """See `Backend`; a launch that is timed over rotated operands is repeated over them too."""
        return GraphLoad(self.timer.cold_launchable(launchable), estimate_ms, self._driver.cuda)

    def now_s(self) -> float:
        """See `Backend`."""
        return self._driver.clock()

    def pause(self, seconds: float) -> None:
        """See `Backend`."""
        self._driver.pause(seconds)

    def throttled_s(self) -> float | None:
        """See `Backend`."""
        return self._throttled_s()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """See `Backend`."""
        with super().busy():
            yield
        self._idle_since_s = self.now_s()

    def warm_up(self, settings: MeasureSettings) -> None:
        """See `Backend`: runs a dense product until clock and temperature are stable."""
        rested = self._idle_since_s is None or self.now_s() - self._idle_since_s > settings.rest_s
        if not rested or self._driver.gpu is None:
            return
        gemm = next((canary for canary in self.canaries() if canary.name == "gemm"), None)
        if gemm is None:
            return
        with self.busy():
            first_ms = self.timer.visit(gemm.launchable, 2).samples_ms[-1]
            load, driver = GraphLoad(gemm.launchable, first_ms, self._driver.cuda), self._driver
            warm_up_until_stable(
                load,
                lambda: read_clocks(driver.gpu, driver.nvml),
                driver.clock,
                driver.pause,
                settings.warm_up_limit_s,
            )
            driver.cuda.synchronize()


def warm_up_until_stable(
    load: SustainedLoad,
    read: Callable[[], ClockReading],
    clock: Callable[[], float],
    pause: Callable[[float], None],
    limit_s: float,
) -> bool:
    """Run the load until two seconds of readings are stable; returns whether that was within `limit_s`."""
    begin_s = read_s = clock()
    readings: deque[ClockReading] = deque(maxlen=FLAT_READINGS)
    while clock() - begin_s < limit_s:
        load.top_up()
        pause(load.keeps_busy_s)
        if clock() - read_s >= READ_EVERY_S:
            read_s = clock()
            readings.append(read())
            if len(readings) == FLAT_READINGS and _flat(readings):
                return True
    return False


def _flat(readings: deque[ClockReading]) -> bool:
    clocks = [reading.sm_clock_mhz for reading in readings if reading.sm_clock_mhz is not None]
    degrees = [reading.temperature_c for reading in readings if reading.temperature_c is not None]
    return _spread(clocks) <= FLAT_CLOCK * max(clocks, default=0.0) and _spread(degrees) <= FLAT_C


def _spread(values: list[float]) -> float:
    return max(values, default=0.0) - min(values, default=0.0)
