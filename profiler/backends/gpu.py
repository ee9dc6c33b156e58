"""What real and simulated GPUs share on the bench: timer, probes, energy, warm-up and slowdowns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kswatch.profiler.backends.base import Bench
from kswatch.profiler.backends.canaries import Canary
from kswatch.profiler.backends.warmup import reach_plateau
from kswatch.profiler.probes.base import Probe
from kswatch.profiler.probes.clocks import ClockProbe, read_clocks
from kswatch.profiler.probes.energy import EnergyMeter, Load
from kswatch.profiler.probes.energy_nvml import nvml_sources
from kswatch.profiler.probes.graph_load import GraphLoad
from kswatch.profiler.probes.throttling import slowdown_clock
from kswatch.profiler.probes.timing import Work
from kswatch.profiler.probes.timing_cuda import CudaTimer
from kswatch.profiler.settings import MeasureSettings

NO_NVML = "no energy: NVML does not know this GPU"


@dataclass(frozen=True)
class Driver:
    """Through what a GPU is reached: torch's CUDA and NVML, or simulated ones."""

    cuda: Any
    nvml: Any
    gpu: Any
    """NVML's handle; None where NVML does not know the GPU."""
    clock: Callable[[], float]
    pause: Callable[[float], None]


class GpuBench(Bench):
    """A GPU whose clocks are read, whose energy is counted and that is kept warm."""

    timer: CudaTimer

    def __init__(
        self, driver: Driver, model: str, timer: CudaTimer, cache_bytes: int, refusal: str | None
    ) -> None:
        """Everything but the problems; `refusal` says why energy would mean nothing."""
        self._driver = driver
        self.timer = timer
        self.cache_bytes = cache_bytes
        self.energy_refusal = refusal
        self._idle_since_s: float | None = None
        self._slowed_s: Callable[[], float | None] = lambda: None
        self.probes: tuple[Probe, ...] = ()
        if driver.gpu is None:
            self.energy_refusal = refusal or NO_NVML
            return
        self.probes += (ClockProbe(lambda: read_clocks(driver.gpu, driver.nvml), driver.clock),)
        self._slowed_s = slowdown_clock(driver.gpu, driver.nvml)
        sources = nvml_sources(driver.gpu, model, driver.nvml, driver.clock)
        if sources and not refusal:
            second = sources[1] if len(sources) > 1 else None
            self.energy_meter = EnergyMeter(sources[0], second, driver.clock, driver.pause)
        elif not refusal:
            self.energy_refusal = "no energy: this driver tells neither energy nor power of the board"

    def load(self, work: Work, estimate_ms: float) -> Load:
        """See `Bench`; a launch that is timed over rotated operands is counted over them too."""
        return GraphLoad(self.timer.cold_work(work), estimate_ms, self._driver.cuda)

    def now_s(self) -> float:
        """See `Bench`."""
        return self._driver.clock()

    def pause(self, seconds: float) -> None:
        """See `Bench`."""
        self._driver.pause(seconds)

    def slowed_s(self) -> float | None:
        """See `Bench`."""
        return self._slowed_s()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """See `Bench`."""
        with super().busy():
            yield
        self._idle_since_s = self.now_s()

    def warm_up(self, settings: MeasureSettings) -> None:
        """See `Bench`: a dense product until clock and temperature are flat."""
        rested = self._idle_since_s is None or self.now_s() - self._idle_since_s > settings.rest_s
        if not rested or self._driver.gpu is None:
            return
        gemm = self._gemm()
        if gemm is None:
            return
        with self.busy():
            first_ms = self.timer.visit(gemm.work, 2).samples_ms[-1]
            load = GraphLoad(gemm.work, first_ms, self._driver.cuda)
            driver = self._driver
            reach_plateau(
                load,
                lambda: read_clocks(driver.gpu, driver.nvml),
                driver.clock,
                driver.pause,
                settings.plateau_s,
            )
            self._driver.cuda.synchronize()

    def _gemm(self) -> Canary | None:
        return next((canary for canary in self.canaries() if canary.name == "gemm"), None)
