"""The common part of real and simulated GPU backends: timer, probes, energy, warm-up, throttling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kswatch.profiler.backends.base import Backend
from kswatch.profiler.backends.canaries import CanaryKernel
from kswatch.profiler.backends.warmup import warm_up_until_stable
from kswatch.profiler.probes.base import Probe
from kswatch.profiler.probes.clocks import ClockProbe, read_clocks
from kswatch.profiler.probes.energy import EnergyMeter, SustainedLoad
from kswatch.profiler.probes.energy_nvml import NO_SENSOR, nvml_sources
from kswatch.profiler.probes.graph_load import GraphLoad
from kswatch.profiler.probes.throttling import slowdown_clock
from kswatch.profiler.probes.timing import Launchable
from kswatch.profiler.probes.timing_cuda import CudaTimer
from kswatch.profiler.settings import MeasureSettings

NO_NVML = "no energy: NVML does not know this GPU"


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
        self.probes: tuple[Probe, ...] = ()
        if driver.gpu is None:
            self.energy_refusal = refusal or NO_NVML
            return
        self.probes += (ClockProbe(lambda: read_clocks(driver.gpu, driver.nvml), driver.clock),)
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
        gemm = self._gemm()
        if gemm is None:
            return
        with self.busy():
            first_ms = self.timer.visit(gemm.launchable, 2).samples_ms[-1]
            sustained_load = GraphLoad(gemm.launchable, first_ms, self._driver.cuda)
            driver = self._driver
            warm_up_until_stable(
                sustained_load,
                lambda: read_clocks(driver.gpu, driver.nvml),
                driver.clock,
                driver.pause,
                settings.warm_up_limit_s,
            )
            self._driver.cuda.synchronize()

    def _gemm(self) -> CanaryKernel | None:
        return next((canary for canary in self.canaries() if canary.name == "gemm"), None)
