"""The backend of an NVIDIA GPU: its CUDA context, NVML handle and probes."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator

import pynvml
import torch

from kswatch.db.records import CounterReading
from kswatch.kernels.problem import Problem
from kswatch.profiler.backends.canaries import CanaryKernel, torch_canaries
from kswatch.profiler.backends.gpu import Driver, GpuBackend
from kswatch.profiler.backends.ncu import read_counters, refused
from kswatch.profiler.backends.workload import TorchWorkload, Workload
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.devices.preflight import energy_refusal
from kswatch.profiler.probes import nvml
from kswatch.profiler.probes.sm_clock import clock_stamps
from kswatch.profiler.probes.timing_cuda import CudaTimer, flush_by_torch, reset_persisting_by_driver
from kswatch.profiler.subjects.problems import AnyProblem

GEMM_SIZE = 8192
SMALLEST_CACHE_BYTES = 4 << 20


class CudaBackend(GpuBackend):
    """One GPU of this process; its clocks, limits and modes are never changed."""

    counts_memory = True

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

    def workload(self, problem: AnyProblem, seed: int) -> Workload:
        """See `Backend`; the timer flushes the cache, so only short launches need several input sets."""
        self.timer.forget()
        gc.collect()
        torch.cuda.empty_cache()
        if not isinstance(problem, Problem):
            from kswatch.profiler.backends.structured_modules import structured_workload

            return structured_workload(problem, self._device, seed, flushed_cache_bytes=self.cache_bytes)
        return TorchWorkload(problem, self._device, seed, flushed_cache_bytes=self.cache_bytes)

    def canaries(self) -> Iterator[CanaryKernel]:
        """See `Backend`."""
        return torch_canaries(self._device, self.cache_bytes, GEMM_SIZE)

    def counters(self, problem: AnyProblem, implementation: str, seed: int) -> tuple[CounterReading, ...]:
        """See `Backend`; unused memory of torch's allocator is released for the process that ncu starts."""
        if not isinstance(problem, Problem):
            return refused("ncu sums the kernels of a single product here")
        torch.cuda.empty_cache()
        return read_counters(problem, implementation, seed)

    def free_bytes(self) -> int:
        """See `Backend`; unused memory of torch's allocator counts as free."""
        held = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return torch.cuda.mem_get_info(self._device)[0] + held

    def healthy(self) -> bool:
        """See `Backend`; after an illegal access, for example, every later call of the process fails."""
        try:
            torch.cuda.synchronize(self._device)
        except RuntimeError:
            return False
        return True
