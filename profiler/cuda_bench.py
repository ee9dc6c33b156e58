"""A GPU made ready to be measured: its CUDA context, its NVML handle, its probes."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import torch

from kernels.problem import Problem
from profiler import nvml
from profiler.bench import Bench
from profiler.canaries import Canary, torch_canaries
from profiler.devices import Target
from profiler.preflight import energy_refusal
from profiler.probes.clocks import ClockProbe, read_clocks
from profiler.probes.energy import EnergyMeter, Load
from profiler.probes.energy_nvml import nvml_sources
from profiler.probes.graph_load import GraphLoad
from profiler.probes.memory import MemoryProbe
from profiler.probes.timing import Work
from profiler.probes.timing_cuda import CudaTimer, flush_by_torch
from profiler.stage import Stage, TorchStage

GEMM_SIZE = 8192
SMALLEST_CACHE_BYTES = 4 << 20


class CudaBench(Bench):
    """One GPU of this process; no clock, limit or mode of it is ever changed."""

    def __init__(self, target: Target) -> None:
        self._device = torch.device(target.torch_device)
        torch.cuda.set_device(self._device)
        self._cache_bytes = target.record.cache_bytes or SMALLEST_CACHE_BYTES
        self.timer = CudaTimer(flush_by_torch(self._device, self._cache_bytes))
        self.probes = (MemoryProbe(),)
        gpu = nvml.handle(target.record.uuid)
        self.energy_refusal = energy_refusal(target)
        if gpu is None:
            return
        self.probes += (ClockProbe(lambda: read_clocks(gpu)),)
        sources = nvml_sources(gpu, target.record.model)
        if sources and not self.energy_refusal:
            self.energy_meter = EnergyMeter(sources[0], sources[1] if len(sources) > 1 else None)

    def stage(self, problem: Problem, seed: int) -> Stage:
        """See `Bench`; the timer flushes the cache, so one input set will do."""
        gc.collect()
        torch.cuda.empty_cache()
        return TorchStage(problem, self._device, seed)

    def canaries(self) -> Iterator[Canary]:
        """See `Bench`."""
        return torch_canaries(self._device, self._cache_bytes, GEMM_SIZE)

    def load(self, work: Work, estimate_ms: float) -> Load:
        """See `Bench`."""
        return GraphLoad(work, estimate_ms)

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
