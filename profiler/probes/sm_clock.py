"""The mean SM clock of a visit, from time and cycles stamped by every SM before and after it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import torch

from kswatch.errors import UnsupportedError
from kswatch.profiler.probes.timing_cuda import ClockStamps

SOURCE = Path(__file__).with_name("stamp.cu")
THREADS = 1024
"""Large enough that an SM holds at most two blocks: one block per SM then reaches all SMs."""


def clock_stamps(device: torch.device) -> ClockStamps | None:
    """Clock stamps on a GPU; None where their kernel cannot be compiled or loaded."""
    from kswatch.kernels.fused.cuda import driver

    try:
        pycuda = driver.pycuda_driver()
    except UnsupportedError:
        return None
    try:
        return CudaStamps(device)
    except (UnsupportedError, pycuda.Error):
        return None


class CudaStamps:
    """A stamp kernel on torch's current stream."""

    def __init__(self, device: torch.device) -> None:
        """Compile and load the kernel.

        Raises:
            UnsupportedError: there is no PyCUDA, or no nvcc that compiles for this GPU.
        """
        from kswatch.kernels.fused.cuda import driver, nvcc

        found = nvcc.find_nvcc()
        if found is None:
            raise UnsupportedError("there is no nvcc")
        machine = driver.gpu_properties(device)
        compiler = nvcc.compile_by_pycuda if nvcc.has_pycuda() else nvcc.compile_by_nvcc
        code, _ = compiler(SOURCE.read_text(encoding="ascii"), f"sm_{machine.architecture}", found)
        pycuda = driver.pycuda_driver()
        with driver.primary_context(device):
            self._function = pycuda.module_from_buffer(code).get_function("stamp")
        self._function.prepare("P")
        self._device = device
        self._blocks = torch.cuda.get_device_properties(device).multi_processor_count
        # SM ids may exceed the number of SMs where some are disabled
        self._stamps = torch.zeros(2, 4 * self._blocks, 2, dtype=torch.int64, device=device)

    def enqueue(self, index: int) -> None:
        """See `ClockStamps`."""
        from kswatch.kernels.fused.cuda import driver

        if index == 0:
            self._stamps.zero_()
        address = self._stamps[index].data_ptr()
        driver.on_current_stream(
            self._device,
            lambda stream: self._function.prepared_async_call(
                (self._blocks, 1, 1), (THREADS, 1, 1), stream, address
            ),
        )

    def sm_clock_mhz(self) -> float | None:
        """See `ClockStamps`."""
        before, after = self._stamps.tolist()
        return clock_of(before, after)


def clock_of(before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]) -> float | None:
    """The median clock of SMs with both stamps; a stamp is (nanoseconds, cycles), (0, 0) if missing."""
    clocks = [
        1e3 * (end[1] - begin[1]) / (end[0] - begin[0])
        for begin, end in zip(before, after, strict=True)
        if begin[0] and end[0] > begin[0]
    ]
    return statistics.median(clocks) if clocks else None
