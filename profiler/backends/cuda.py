"""A GPU made ready to be measured: its CUDA context, its NVML handle, its probes."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator

import pynvml
import torch

from kswatch.db.records import CounterReading
from kswatch.kernels.problem import Problem
from kswatch.profiler.backends.canaries import Canary, torch_canaries
from kswatch.profiler.backends.gpu import Driver, GpuBench
from kswatch.profiler.backends.workload import Stage, TorchStage
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.devices.preflight import energy_refusal
from kswatch.profiler.probes import nvml
from kswatch.profiler.probes.memory import MemoryProbe
from kswatch.profiler.probes.ncu import read_counters
from kswatch.profiler.probes.sm_clock import clock_stamps
from kswatch.profiler.probes.timing_cuda import CudaTimer, flush_by_torch, reset_persisting_by_driver

GEMM_SIZE = 8192
SMALLEST_CACHE_BYTES = 4 << 20


class CudaBench(GpuBench):
    """One GPU of this process; no clock, limit or mode of it is ever changed."""

    def __init__(self, target: Target) -> None:
        self._device = torch.device(target.torch_device)
        torch.cuda.set_device(self._device)
        cache_bytes = target.record.cache_bytes or SMALLEST_CACHE_BYTES
        timer = CudaTimer(
            flush_by_torch(self._device, cache_bytes),
            reset_persisting=reset_persisting_by_driver(),
            stamps=clock_stamps(self._device),
        )
        driver = Driver(torch.cuda, pynvml, nvml.handle(target.record.uuid), time.perf_counter, time.sleep)
        super().__init__(driver, target.record.model, timer, cache_bytes, energy_refusal(target))
        self.probes = (MemoryProbe(), *self.probes)

    def stage(self, problem: Problem, seed: int) -> Stage:
        """See `Bench`; the timer flushes the cache, so one input set will do unless launches are short."""
        self.timer.forget()
        gc.collect()
        torch.cuda.empty_cache()
        return TorchStage(problem, self._device, seed, flushed_cache_bytes=self.cache_bytes)

    def canaries(self) -> Iterator[Canary]:
        """See `Bench`."""
        return torch_canaries(self._device, self.cache_bytes, GEMM_SIZE)

    def counters(self, problem: Problem, implementation: str, seed: int) -> tuple[CounterReading, ...]:
        """See `Bench`; memory that torch holds without using it is given to the process that ncu starts."""
        torch.cuda.empty_cache()
        return read_counters(problem, implementation, seed)

    def free_bytes(self) -> int:
        """See `Bench`; what torch's allocator holds without using it is free too."""
        held = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return torch.cuda.mem_get_info(self._device)[0] + held

    def healthy(self) -> bool:
        """See `Bench`; an illegal access, say, makes every later call of the process fail."""
        try:
            torch.cuda.synchronize(self._device)
        except RuntimeError:
            return False
        return True
