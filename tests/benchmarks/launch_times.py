"""Host time of the launch path with a driver that launches nothing; `make bench` parses the output.

    python tests/benchmarks/launch_times.py

The time in the driver and in torch's CUDA calls is not included, so the figures are ratios to `torch.bmm`
of a tiny product in the same run; they show the cost of this project's own code.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import repeat
from struct import calcsize
from types import SimpleNamespace
from unittest.mock import patch

import torch

from kswatch.kernels import KSLinear
from kswatch.kernels.fused.cuda import compile as compiler
from kswatch.kernels.fused.cuda import driver, launch
from kswatch.kernels.fused.cuda.arguments import FORMAT
from kswatch.kernels.fused.cuda.compile import Cubin
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.nvcc import PtxasReport
from kswatch.kernels.fused.implementation import Fused
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem

PROBLEM = Problem(Pattern(2, 8, 8, 1), 8, "fp32", "batch_first")
ROUNDS, CALLS = 400, 25
ARGUMENT_BYTES = calcsize(FORMAT)


class NullFunction:
    """A kernel whose launch checks its arguments like PyCUDA and does nothing."""

    def set_attribute(self, attribute: object, value: int) -> None:
        pass

    def _launch_kernel(self, grid, block, packed, shared_bytes, stream) -> None:
        assert len(packed) == ARGUMENT_BYTES and len(grid) == len(block) == 3


@contextmanager
def null_gpu() -> Iterator[None]:
    """Replace the parts of `pycuda.driver` and torch.cuda that the launch path uses, with CPU tensors."""
    context = SimpleNamespace(push=lambda: None, pop=lambda: None)
    module = SimpleNamespace(get_function=lambda name: NullFunction())
    null_driver = SimpleNamespace(
        Error=RuntimeError,
        function_attribute=SimpleNamespace(MAX_DYNAMIC_SHARED_SIZE_BYTES=8),
        Device=lambda index: SimpleNamespace(retain_primary_context=lambda: context),
        module_from_buffer=lambda code: module,
        Stream=lambda flags: SimpleNamespace(handle=4097),
    )
    stream = SimpleNamespace(cuda_stream=0, synchronize=lambda: None)
    cubin = Cubin(b"", "0" * 64, "none", PtxasReport(0, 0, 0, 0))
    with (
        patch.object(driver, "pycuda_driver", lambda: null_driver),
        patch.object(driver, "gpu_properties", lambda device: GpuProperties(90, 132)),
        patch.object(compiler, "cubin", lambda tile, architecture: cubin),
        patch.object(torch.cuda, "is_available", lambda: True),
        patch.object(torch.cuda, "device", lambda device: nullcontext()),
        # Functions of C, as torch's are.
        patch.object(driver, "current_device", repeat(None).__next__),
        patch.object(driver, "empty_on_device", torch._C._dynamo.guards._empty_strided_cpu),
        patch.object(driver, "current_stream_handle", {None: 0}.__getitem__),
        patch.object(torch.cuda, "mem_get_info", lambda device: None),
        patch.object(torch.cuda, "current_stream", lambda device: stream),
        patch.object(torch.cuda, "ExternalStream", lambda handle, device: stream),
        patch.object(launch, "with_index", lambda device: device),
        patch.object(Fused, "unsupported", lambda self, problem, device: None),
        patch.object(Fused, "prepare", lambda self, *arguments: launch.prepare(*arguments)),
        patch.object(Fused, "prepare_with_bias", lambda self, *arguments: launch.prepare(*arguments)),
    ):
        yield


def times_us(*calls: Callable[[], object]) -> list[float]:
    """The minimum time of each call over interleaved rounds: other load on the machine only adds time."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, samples in zip(calls, times, strict=True):
            begin_ns = time.perf_counter_ns()
            for _ in range(CALLS):
                call()
            samples.append((time.perf_counter_ns() - begin_ns) / CALLS / 1e3)
    return [min(samples) for samples in times]


def main() -> None:
    torch.set_num_threads(1)
    layer = KSLinear([PROBLEM.pattern], algorithm="fused")
    weights, x = layer.factors[0].weight.detach(), torch.randn(PROBLEM.input_shape)
    blocks, columns = torch.randn(2, 8, 8), torch.randn(2, 8, 8)
    with null_gpu(), torch.no_grad():
        product = launch.prepare(PROBLEM, weights)
        bmm_us, launch_us, layer_us = times_us(
            lambda: torch.bmm(blocks, columns), lambda: product(x), lambda: layer(x)
        )
    print(f"torch.bmm of a tiny product, host time {bmm_us:.3g} µs")
    print(f"raw launch on a null driver, over torch.bmm {launch_us / bmm_us:.3g} ×")
    print(f"raw launch on a null driver {launch_us:.3g} µs")
    print(f"KSLinear with bias on a null driver, over torch.bmm {layer_us / bmm_us:.3g} ×")
    print(f"KSLinear with bias on a null driver, less torch.bmm {layer_us - bmm_us:.3g} µs")


if __name__ == "__main__":
    main()
