"""The fused product on a GPU: chooses a tile, re-lays the weights, launches by PyCUDA.

PyCUDA checks no shape, dtype, device or address: all of that is done here, before a launch.
"""

from __future__ import annotations

from typing import Any

import torch

from kernels.fused import compile as compiler
from kernels.fused import driver, tiles
from kernels.fused.arguments import pack
from kernels.fused.machine import MIN_ARCHITECTURE, TENSOR_CORE_ARCHITECTURE
from kernels.fused.tile import Tile
from kernels.fused.weights import lay_out
from kernels.implementation import STORAGE_DTYPES, Empty, Product
from kernels.problem import Problem
from kswatch_errors import UnsupportedError, UsageError

MAX_BLOCKS = 2**31 - 1


def unsupported(problem: Problem, device: torch.device) -> str | None:
    """Why this problem cannot be computed on this GPU, as a sentence; None where it can."""
    if torch.version.hip or not torch.cuda.is_available():
        return (
            "torch sees no NVIDIA GPU; install a torch built for CUDA and the driver, or use the device cpu"
        )
    device = indexed(device)
    architecture = driver.machine(device).architecture
    if architecture < MIN_ARCHITECTURE:
        return f"the GPU is sm_{architecture}; the fused kernel needs sm_{MIN_ARCHITECTURE} or newer"
    if problem.precision == "tf32" and architecture < TENSOR_CORE_ARCHITECTURE:
        return f"the GPU is sm_{architecture}; tf32 needs sm_{TENSOR_CORE_ARCHITECTURE} or newer, choose fp32"
    if chosen(problem, device).blocks(problem) > MAX_BLOCKS:
        return "it needs more blocks than one launch can have; use a smaller batch"
    try:
        driver.pycuda_driver()
        compiler.cubin(chosen(problem, device), architecture)
    except UnsupportedError as error:
        return str(error)
    return None


def prepare(problem: Problem, weights: torch.Tensor) -> Product:
    """A closure that only launches; it owns the re-laid weights, so that `weights` may go.

    Raises:
        UnsupportedError: `unsupported` would have said so.
        UsageError: weights of another shape or dtype.
    """
    if reason := unsupported(problem, weights.device):
        raise UnsupportedError(f"{problem}: {reason}")
    check("weights", weights, problem.pattern.as_tuple(), STORAGE_DTYPES[problem.precision], weights.device)
    return Launcher(problem, weights.detach())


def code_hash(problem: Problem, device: torch.device) -> str:
    """sha256 of the machine code that runs."""
    device = indexed(device)
    return compiler.cubin(chosen(problem, device), driver.machine(device).architecture).sha256


def tile(problem: Problem, device: torch.device) -> str:
    """The tile that the kernel chooses, readable."""
    return str(chosen(problem, indexed(device)))


def chosen(problem: Problem, device: torch.device, alignment_bytes: int = 16) -> Tile:
    """The tile for addresses that divide by so many bytes; fresh tensors divide by 16 and more."""
    return tiles.choose(problem, driver.machine(device), alignment_bytes)


def indexed(device: torch.device) -> torch.device:
    """The device with its number, which `cuda` alone leaves to torch's current device."""
    return device if device.index is not None else torch.device(device.type, torch.cuda.current_device())


class Launcher:
    """The product of one problem with one set of weights on one GPU."""

    def __init__(self, problem: Problem, weights: torch.Tensor) -> None:
        self.problem = problem
        self.device = weights.device
        self._dtype = weights.dtype
        self._input_shape, self._output_shape = problem.input_shape, problem.output_shape
        self._tile = chosen(problem, self.device)
        self._weights = lay_out(weights, self._tile)
        self._grid, self._block = (self._tile.blocks(problem), 1, 1), (self._tile.threads, 1, 1)
        self._shared_bytes = self._tile.shared_bytes
        self._functions = {self._tile.vector_bytes: self._load(self._tile)}
        torch.cuda.current_stream(self.device).synchronize()  # launches may come on another stream

    def __call__(self, x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
        """Y, on torch's current stream.

        Raises:
            UsageError: x of another shape, dtype or device, or not contiguous.
            pycuda.driver.Error: the driver refuses the launch, or one before it has failed.
        """
        check("x", x, self._input_shape, self._dtype, self.device)
        if not x.is_contiguous():
            raise UsageError(f"x of strides {x.stride()} is not contiguous; pass x.contiguous()")
        y = empty(self._output_shape, dtype=self._dtype, device=self.device)
        addresses = x.data_ptr(), self._weights.data_ptr(), y.data_ptr()
        function = self._function(addresses[0] | addresses[2])
        values = pack(self.problem, *addresses)

        def launch(stream: Any) -> None:  # noqa: ANN401
            function.prepared_async_call(
                self._grid, self._block, stream, *values, shared_size=self._shared_bytes
            )

        driver.on_current_stream(self.device, launch)
        return y

    def _function(self, addresses: int) -> Any:  # noqa: ANN401
        """The kernel whose accesses are as wide as the addresses allow; a view may start anywhere."""
        width = self._tile.vector_bytes
        while addresses % width:
            width //= 2
        if width not in self._functions:
            self._functions[width] = self._load(self._tile.with_vectors(width))
        return self._functions[width]

    def _load(self, tile: Tile) -> Any:  # noqa: ANN401
        return driver.load(compiler.cubin(tile, driver.machine(self.device).architecture), self.device)


def check(
    name: str, tensor: torch.Tensor, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> None:
    """Refuse what the kernel would misread.

    Raises:
        UsageError: another shape, dtype or device.
    """
    if tensor.shape != shape:
        raise UsageError(f"{name} has shape {tuple(tensor.shape)}; this product takes {shape}")
    if tensor.dtype != dtype:
        raise UsageError(f"{name} is {tensor.dtype}; this product takes {dtype}")
    if tensor.device != device:
        raise UsageError(f"{name} is on {tensor.device}; this product was prepared on {device}")
