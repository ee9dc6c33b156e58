"""The interface between the measuring loop and a device, and the backend of the host's CPU."""

from __future__ import annotations

import gc
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import psutil
import torch

from kswatch.db.records import CounterReading, Mode
from kswatch.errors import MeasurementError
from kswatch.kernels.problem import Problem
from kswatch.profiler.backends.canaries import CanaryKernel, peak_canary, torch_canaries
from kswatch.profiler.backends.fresh_memory import peak_growth_bytes
from kswatch.profiler.backends.ncu import refused
from kswatch.profiler.backends.workload import TorchWorkload, Workload
from kswatch.profiler.devices.discovery import Target, cpu_threads, physical_cores
from kswatch.profiler.probes.base import Probe, ProbedDevice
from kswatch.profiler.probes.catalogue import probes_of
from kswatch.profiler.probes.energy import EnergyMeter, SustainedLoad
from kswatch.profiler.probes.energy_rapl import CpuLoad, Rapl
from kswatch.profiler.probes.timing import CpuTimer, Launchable, Timer, Visit
from kswatch.profiler.settings import MeasureSettings
from kswatch.profiler.subjects.problems import AnyProblem

CPU_GEMM_SIZE = 512


class Backend(ABC):
    """A device prepared for measuring in this process."""

    timer: Timer
    cache_bytes: int = 0
    """Size of the last-level cache."""
    energy_meter: EnergyMeter | None = None
    energy_refusal: str | None = None
    """Why the energy of this device cannot be measured; None where it can."""
    counter_refusal: str = "ncu reads counters of NVIDIA GPUs only, and this device is the CPU"
    probes: tuple[Probe, ...] = ()
    busy_s: float = 0.0
    """Seconds spent in visits, warm-up and energy windows so far; the rest of a run is overhead."""
    skipped_s: float = 0.0
    """Simulated seconds that did not pass in real time; 0 on a real device."""

    @abstractmethod
    def workload(self, problem: AnyProblem, seed: int) -> Workload:
        """Set up a problem; the caller closes it."""

    @abstractmethod
    def canaries(self) -> Iterator[CanaryKernel]:
        """The canary kernels; read each one before the next is produced."""

    @abstractmethod
    def sustained_load(self, launchable: Launchable, estimate_ms: float) -> SustainedLoad:
        """A load that keeps the device busy with a cell of about `estimate_ms` during the energy pass."""

    def counters(self, problem: AnyProblem, implementation: str, seed: int) -> tuple[CounterReading, ...]:
        """Hardware counters of one product, or one row with the reason why there are none."""
        del problem, implementation, seed
        return refused(self.counter_refusal)

    def peak_bytes(self, problem: AnyProblem, cell: str, seed: int) -> int | None:
        """Peak memory of a layer's or a model's cell by a process of its own; None where a probe reads it."""
        del problem, cell, seed
        return None

    @abstractmethod
    def free_bytes(self) -> int:
        """Free memory in bytes."""

    def now_s(self) -> float:
        """Seconds of a monotonic clock; simulated devices have their own."""
        return time.monotonic()

    def timer_of(self, mode: Mode) -> Callable[[Launchable, int], Visit]:
        """The timer's method for visits in this mode."""
        return self.timer.hot if mode == "hot" else self.timer.visit

    def pause(self, seconds: float) -> None:
        """Leave the device idle."""
        time.sleep(seconds)

    def warm_up(self, settings: MeasureSettings) -> None:  # noqa: B027 (most devices need none)
        """Load the device until clock and temperature are stable; once per run, and again after idle time."""

    def throttled_s(self) -> float | None:
        """Total seconds of throttling by heat or hardware; None where the device has no such counter."""
        return None

    def healthy(self) -> bool:
        """Whether the device still responds; False after an error that needs a new process."""
        return True

    @contextmanager
    def probed(self, step: Literal["prepare", "launch", "visit"], cell: str) -> Iterator[None]:
        """Call the probes' hooks before and after a step of a cell."""
        for probe in self.probes:
            getattr(probe, f"before_{step}")(cell)
        yield
        for probe in self.probes:
            getattr(probe, f"after_{step}")(cell)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Count the time inside as device time, not as overhead."""
        begin_s = self.now_s()
        try:
            yield
        finally:
            self.busy_s += self.now_s() - begin_s


class CpuBackend(Backend):
    """The host's CPU, with pinned threads and rotated input sets."""

    def __init__(self, target: Target) -> None:
        threads = cpu_threads()
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, physical_cores()[:threads])
        torch.set_num_threads(threads)
        self.probes = probes_of(ProbedDevice("cpu"))
        self.timer = CpuTimer()
        try:
            self.energy_meter = EnergyMeter(Rapl())
        except MeasurementError as error:
            self.energy_refusal = str(error)
        self.cache_bytes = target.record.cache_bytes or 32 << 20

    def workload(self, problem: AnyProblem, seed: int) -> Workload:
        """See `Backend`.

        Raises:
            MemoryError: the problem does not fit; checked in advance, since Linux would kill the process.
        """
        gc.collect()
        if not isinstance(problem, Problem):
            from kswatch.profiler.backends.structured_modules import structured_workload

            return structured_workload(problem, torch.device("cpu"), seed, self.cache_bytes)
        needed, free = TorchWorkload.memory_bytes(problem, self.cache_bytes), self.free_bytes()
        if needed > free:
            raise MemoryError(f"setting it up needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")
        return TorchWorkload(problem, torch.device("cpu"), seed, self.cache_bytes)

    def canaries(self) -> Iterator[CanaryKernel]:
        """See `Backend`."""
        yield from torch_canaries(torch.device("cpu"), self.cache_bytes, CPU_GEMM_SIZE)
        yield from peak_canary()

    def sustained_load(self, launchable: Launchable, estimate_ms: float) -> SustainedLoad:
        """See `Backend`."""
        del estimate_ms
        return CpuLoad(launchable)

    def peak_bytes(self, problem: AnyProblem, cell: str, seed: int) -> int | None:
        """See `Backend`; of an eager run, since compiling takes memory of its own."""
        if isinstance(problem, Problem) or getattr(problem, "execution", "eager") != "eager":
            return None
        from kswatch.profiler.backends.structured_modules import run_once

        return peak_growth_bytes(run_once, problem, cell, seed, torch.get_num_threads())

    def free_bytes(self) -> int:
        """See `Backend`."""
        return psutil.virtual_memory().available
