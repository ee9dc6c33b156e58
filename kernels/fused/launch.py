"""The fused product on a GPU: chooses a tile, re-lays the weights, launches by PyCUDA.

PyCUDA checks no shape, dtype, device or address: all of that is done here, before a launch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any

import torch

from kernels.fused import compile as compiler
from kernels.fused import driver, tensor_map, tiles, trust, tuned
from kernels.fused.arguments import FORMAT, numbers
from kernels.fused.estimate import cycles
from kernels.fused.machine import MIN_ARCHITECTURE, TENSOR_CORE_ARCHITECTURE
from kernels.fused.tile import FAMILIES, SUM_THREADS, Tile, ceil
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


def prepare(
    problem: Problem, weights: torch.Tensor, bias: torch.Tensor | None = None, tile: Tile | None = None
) -> Product:
    """A closure that only launches; it owns the re-laid weights and a bias, so that both may go.

    Args:
        problem: What is computed.
        weights: Of shape (a, b, c, d).
        bias: Of shape (a·b·d,), one for each feature of Y; added before the rounding.
        tile: One of `candidates`, in place of the one that is chosen.

    Raises:
        UnsupportedError: `unsupported` would have said so.
        UsageError: weights or bias of another shape, dtype or device.
    """
    if reason := unsupported(problem, weights.device):
        raise UnsupportedError(f"{problem}: {reason}")
    dtype = STORAGE_DTYPES[problem.precision]
    check("weights", weights, problem.pattern.as_tuple(), dtype, weights.device)
    if bias is not None:
        check("bias", bias, (problem.pattern.rows,), dtype, weights.device)
        bias = bias.detach().clone()
    return launcher(problem, weights.detach(), bias, tile or chosen(problem, weights.device))


def code_hash(problem: Problem, device: torch.device) -> str:
    """sha256 of the machine code that runs."""
    device = indexed(device)
    return compiler.cubin(chosen(problem, device), driver.machine(device).architecture).sha256


def tile(problem: Problem, device: torch.device) -> str:
    """The tile that the kernel chooses, readable."""
    return str(chosen(problem, indexed(device)))


def chosen(problem: Problem, device: torch.device) -> Tile:
    """The tile that the table of the architecture has for exactly this problem, else the best by estimate."""
    return _chosen(problem, device, tuned.tile_name(problem, f"sm_{driver.machine(device).architecture}"))


@lru_cache(maxsize=4096)
def _chosen(problem: Problem, device: torch.device, name: str | None) -> Tile:
    machine = driver.machine(device)
    every = candidates(problem, device)
    named = (tile for tile in every if str(tile) == name)
    return next(named, None) or min(every, key=lambda tile: cycles(problem, tile, machine))


def candidates(problem: Problem, device: torch.device) -> list[Tile]:
    """Every tile that may compute the problem there; wgmma's where it was seen to be right."""
    machine = driver.machine(device)
    wide = tiles.by_warpgroups(problem, machine)
    trusted = wide is not None and not trust.untrusted(device)
    return [*tiles.candidates(problem, machine), *([wide] if wide and trusted else [])]


def available(problem: Problem, device: torch.device) -> dict[str, str | None]:
    """Every family of kernels: None where it may compute the problem there, else why not, as a sentence."""
    machine = driver.machine(indexed(device))
    reasons: dict[str, str | None] = {
        family: None if family in machine.families(problem) else machine.lacks(family, problem)
        for family in FAMILIES
    }
    if tiles.by_warpgroups(problem, machine) is not None:
        reasons["warpgroups"] = trust.untrusted(indexed(device))
    return reasons


def indexed(device: torch.device) -> torch.device:
    """The device with its number, which `cuda` alone leaves to torch's current device."""
    return device if device.index is not None else torch.device(device.type, torch.cuda.current_device())


class Launcher:
    """The product of one problem with one set of weights on one GPU."""

    def __init__(
        self, problem: Problem, weights: torch.Tensor, bias: torch.Tensor | None, tile: Tile
    ) -> None:
        self.problem = problem
        self.device = weights.device
        self._dtype = weights.dtype
        self._input_shape, self._output_shape = problem.input_shape, problem.output_shape
        self._tile = tile
        self._weights, self._bias = lay_out(weights, self._tile), bias
        self._constant = (self._weights.data_ptr(), 0 if bias is None else bias.data_ptr())
        self._numbers = numbers(problem, self._tile)
        self._grid, self._block = (self._tile.blocks(problem), 1, 1), (self._tile.threads, 1, 1)
        self._shared_bytes = self._tile.launch_bytes
        self._functions = {self._tile.vector_bytes: self._load(self._tile)}
        self._adds_up: Any = self._load(tile, driver.SECOND_PASS) if tile.parts > 1 else None
        self._sum_grid = (ceil(prod(self._output_shape), SUM_THREADS), 1, 1)
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
        if self._adds_up:
            sums = self.parts()
            driver.on_current_stream(self.device, self.launch(x.data_ptr(), sums.data_ptr()))
            driver.on_current_stream(self.device, self.add_up(sums.data_ptr(), y.data_ptr()))
        else:
            driver.on_current_stream(self.device, self.launch(x.data_ptr(), y.data_ptr()))
        return y

    def launch(self, x: int, y: int) -> Callable[[Any], None]:
        """What launches the product on a stream, for the addresses of X and Y."""
        function = self._function(x | y)
        values = self._arguments(x, y)

        def start(stream: Any) -> None:  # noqa: ANN401
            function.prepared_async_call(
                self._grid, self._block, stream, *values, shared_size=self._shared_bytes
            )

        return start

    def add_up(self, sums: int, y: int) -> Callable[[Any], None]:
        """What launches the second pass on a stream, from the parts' sums to Y."""
        function, grid = self._adds_up, self._sum_grid
        values = (sums, *self._constant, y, *self._numbers)

        def start(stream: Any) -> None:  # noqa: ANN401
            function.prepared_async_call(grid, (SUM_THREADS, 1, 1), stream, *values, shared_size=0)

        return start

    def _arguments(self, x: int, y: int) -> tuple[Any, ...]:
        return (x, *self._constant, y, *self._numbers)

    def parts(self) -> torch.Tensor:
        """Room for the parts' sums."""
        shape = (self._tile.parts, *self._output_shape)
        return torch.empty(shape, dtype=torch.float32, device=self.device)

    def _function(self, addresses: int) -> Any:  # noqa: ANN401
        """The kernel whose accesses are as wide as the addresses allow; a view may start anywhere."""
        width = self._tile.vector_bytes
        while addresses % width:
            width //= 2
        if width not in self._functions:
            self._functions[width] = self._load(self._tile.with_vectors(width))
        return self._functions[width]

    def _load(self, tile: Tile, name: str = driver.PRODUCT) -> Any:  # noqa: ANN401
        compiled = compiler.cubin(tile, driver.machine(self.device).architecture)
        shared_bytes = tile.launch_bytes if name == driver.PRODUCT else 0
        takes = f"{tensor_map.BYTES}s{FORMAT}" if tile.family == "warpgroups" else FORMAT
        return driver.load(compiled, self.device, name, takes, shared_bytes)


class WarpgroupLauncher(Launcher):
    """The same by wgmma, which takes X by a tensor map; an X that TMA cannot take goes to mma.sync."""

    def __init__(
        self, problem: Problem, weights: torch.Tensor, bias: torch.Tensor | None, tile: Tile
    ) -> None:
        super().__init__(problem, weights, bias, tile)
        plain = tiles.choose(problem, driver.machine(self.device))
        self._plain = Launcher(problem, weights, bias, plain)
        self._map: tuple[int, bytes] = (0, b"")

    def __call__(self, x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
        """As of `Launcher`."""
        if x.data_ptr() % tensor_map.ADDRESS_BYTES:
            return self._plain(x, empty)
        return super().__call__(x, empty)

    def _arguments(self, x: int, y: int) -> tuple[Any, ...]:
        if self._map[0] != x:
            self._map = (x, tensor_map.encode(self.problem, self._tile, x))
        return (self._map[1], *super()._arguments(x, y))


def launcher(problem: Problem, weights: torch.Tensor, bias: torch.Tensor | None, tile: Tile) -> Launcher:
    """What launches a tile."""
    kind = WarpgroupLauncher if tile.family == "warpgroups" else Launcher
    return kind(problem, weights, bias, tile)


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
