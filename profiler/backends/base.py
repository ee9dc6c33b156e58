"""Everything the loop touches on a device: another device, real or simulated, is another Bench."""

from __future__ import annotations

import gc
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import torch

from kswatch.db.records import CounterReading, Mode
from kswatch.errors import MeasurementError
from kswatch.kernels.problem import Problem
from kswatch.profiler.backends.canaries import Canary, torch_canaries
from kswatch.profiler.backends.workload import Stage, TorchStage
from kswatch.profiler.devices.discovery import Target, cpu_threads, physical_cores
from kswatch.profiler.probes.base import Probe
from kswatch.profiler.probes.energy import EnergyMeter, Load
from kswatch.profiler.probes.energy_rapl import CpuLoad, Rapl
from kswatch.profiler.probes.ncu import refused
from kswatch.profiler.probes.timing import CpuTimer, Timer, Visit, Work
from kswatch.profiler.settings import MeasureSettings

CPU_GEMM_SIZE = 512


class Bench(ABC):
    """A device, made ready to be measured in this process."""

    timer: Timer
    cache_bytes: int = 0
    """The last cache."""
    energy_meter: EnergyMeter | None = None
    energy_refusal: str | None = None
    """Why there is no energy to be had from this device."""
    counter_refusal: str = "ncu reads those of NVIDIA's GPUs, and this device is the CPU"
    probes: tuple[Probe, ...] = ()
    busy_s: float = 0.0
    """Seconds spent in visits, warm-up and energy windows so far: the rest of a run is the harness."""
    skipped_s: float = 0.0
    """Seconds that a simulated device only said to have taken."""

    @abstractmethod
    def stage(self, problem: Problem, seed: int) -> Stage:
        """Set a problem up; the caller closes it."""

    @abstractmethod
    def canaries(self) -> Iterator[Canary]:
        """The kernels that never change; read each before asking for the next."""

    @abstractmethod
    def load(self, work: Work, estimate_ms: float) -> Load:
        """Keep the device busy with a cell of about `estimate_ms` while its energy is counted."""

    def counters(self, problem: Problem, implementation: str, seed: int) -> tuple[CounterReading, ...]:
        """Hardware counters of one product, or the one row that says why there are none."""
        del problem, implementation, seed
        return refused(self.counter_refusal)

    @abstractmethod
    def free_bytes(self) -> int:
        """Memory that a cell may still take."""

    def now_s(self) -> float:
        """A clock that never goes backwards; simulated devices have their own."""
        return time.monotonic()

    def timer_of(self, mode: Mode) -> Callable[[Work, int], Visit]:
        """How cells are visited in this mode."""
        return self.timer.hot if mode == "hot" else self.timer.visit

    def pause(self, seconds: float) -> None:
        """Let the device rest."""
        time.sleep(seconds)

    def warm_up(self, settings: MeasureSettings) -> None:  # noqa: B027 (most devices need none)
        """Bring the device to where its clock and temperature stay; once per run, again after rest."""

    def slowed_s(self) -> float | None:
        """Seconds, in all, for which heat or hardware held the clocks back; None where nobody tells."""
        return None

    def healthy(self) -> bool:
        """Whether the device still answers; False after an error that only a new process cures."""
        return True

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Count what happens inside as the device's time, not the harness's."""
        begin_s = self.now_s()
        try:
            yield
        finally:
            self.busy_s += self.now_s() - begin_s


class CpuBench(Bench):
    """The host's CPU: pinned threads, rotated input sets."""

    def __init__(self, target: Target) -> None:
        threads = cpu_threads()
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, physical_cores()[:threads])
        torch.set_num_threads(threads)
        self.timer = CpuTimer()
        try:
            self.energy_meter = EnergyMeter(Rapl())
        except MeasurementError as error:
            self.energy_refusal = str(error)
        self.cache_bytes = target.record.cache_bytes or 32 << 20

    def stage(self, problem: Problem, seed: int) -> Stage:
        """See `Bench`.

        Raises:
            MemoryError: it would not fit; asked before, since Linux would kill the process instead.
        """
        gc.collect()
        needed, free = TorchStage.memory_bytes(problem, self.cache_bytes), self.free_bytes()
        if needed > free:
            raise MemoryError(f"setting it up needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")
        return TorchStage(problem, torch.device("cpu"), seed, self.cache_bytes)

    def canaries(self) -> Iterator[Canary]:
        """See `Bench`."""
        return torch_canaries(torch.device("cpu"), self.cache_bytes, CPU_GEMM_SIZE)

    def load(self, work: Work, estimate_ms: float) -> Load:
        """See `Bench`."""
        del estimate_ms
        return CpuLoad(work)

    def free_bytes(self) -> int:
        """See `Bench`."""
        return psutil.virtual_memory().available


_benches: dict[str, Bench] = {}


def of(target: Target) -> Bench:
    """The bench of a device in this process, made on first use and kept: it holds calibrations."""
    uuid = target.record.uuid
    if uuid not in _benches:
        _benches[uuid] = _make(target)
    return _benches[uuid]


def _make(target: Target) -> Bench:
    if target.record.kind == "cpu":
        return CpuBench(target)
    if target.record.simulated:
        from kswatch.profiler.simulated.backend import SimulatedBench

        return SimulatedBench.of(target.spec)
    from kswatch.profiler.backends.cuda import CudaBench

    return CudaBench(target)
