"""Products as `raw_launch.py` starts them, with the interpreter in place of the driver."""

from __future__ import annotations

import struct
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import torch

from kswatch.kernels.fused.cuda import driver, raw_launch, tensor_map
from kswatch.kernels.fused.cuda import tile_candidates as tiles
from kswatch.kernels.fused.cuda.arguments import FORMAT
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.nvcc import SOURCE_FOLDER
from kswatch.kernels.fused.cuda.tile import Tile
from kswatch.kernels.fused.cuda.weight_layout import lay_out
from kswatch.kernels.implementation import OUTPUT_DTYPES, WIDE_RANGE
from kswatch.kernels.problem import Problem
from kswatch.kernels.reference import Correctness, check, make_operands, reference
from tests.kernels.ptx import tensor_maps
from tests.kernels.ptx.interpreter import READABLE, WRITABLE, Array, Findings, Options, array
from tests.kernels.ptx.programs import program

CPU = torch.device("cpu")
PAGE_BYTES = 512
"""Alignment of torch's allocations on a GPU."""


@dataclass
class InterpretedGpu:
    """Launches the kernels that `raw_launch` asks for; knows the memory that they may use."""

    architecture: int
    options: Options
    folder: Path
    tile: Tile | None = None
    arrays: dict[int, Array] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)
    launches: list[tuple[str, Tile]] = field(default_factory=list)
    clusters: list[int] | None = None
    _kept: list[torch.Tensor] = field(default_factory=list)

    def add(self, name: str, tensor: torch.Tensor, access: int = READABLE) -> None:
        """Let kernels use the memory of a tensor; writes are counted."""
        counts = torch.zeros(tensor.nbytes, dtype=torch.uint8) if access == WRITABLE else None
        self.arrays[tensor.data_ptr()] = array(name, tensor, access, counts)
        self._kept.append(tensor)

    def cubin(self, tile: Tile, architecture: int) -> Tile:
        """Stands in for `compile.cubin`."""
        assert architecture == self.architecture
        return tile

    def load(self, compiled: Tile, device: torch.device, name: str, shared_bytes: int) -> driver.Kernel:
        """Stands in for `driver.load`."""

        def kernel(grid: tuple, block: tuple, packed: bytes, dynamic_bytes: int, stream: object) -> None:
            assert grid[1:] == block[1:] == (1, 1)
            assert dynamic_bytes <= max(shared_bytes, driver.PLAIN_SHARED_BYTES)
            self.launches.append((name, compiled))
            loaded = program(compiled, self.architecture, self.folder)
            loaded.launch(
                name, grid[0], block[0], dynamic_bytes, packed, self._arrays(name, packed),
                self.options, self.clusters, self.findings,
            )  # fmt: skip

        return kernel

    def _arrays(self, name: str, packed: bytes) -> list[Array]:
        """The memory that a launch may use, by the addresses among its arguments."""
        x, weights, bias, y, *_ = struct.unpack(FORMAT, packed[-struct.calcsize(FORMAT) :])
        used = [self.arrays[address] for address in (weights, bias) if address in self.arrays]
        source, target = self.arrays[x], self.arrays[y]
        readable = Array(source.name, source.base, source.size_bytes, READABLE, source.written)
        return [readable, *used, target]

    def patches(self) -> ExitStack:
        """Replaces the driver, the compiler and the allocation of partial sums."""
        stack = ExitStack()
        for owner, name, replacement in (
            (driver, "gpu_properties", lambda device: GpuProperties(self.architecture, 132)),
            (driver, "direct_stream", lambda device: None),
            (driver, "load", self.load),
            (raw_launch.compiler, "cubin", self.cubin),
            (raw_launch, "torch", mock.Mock(empty=self._empty, float32=torch.float32)),
            (tensor_map, "_encoder", lambda: tensor_maps.encode),
        ):
            stack.enter_context(mock.patch.object(owner, name, replacement))
        return stack

    def _empty(self, shape: tuple, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        sums = aligned(torch.full(shape, torch.nan, dtype=dtype))
        self.add("sums", sums, WRITABLE)
        return sums

    def lay_out(self, weights: torch.Tensor, tile: Tile) -> torch.Tensor:
        """The weights in the order of a tile, in memory that kernels may use."""
        laid_out = aligned(lay_out(weights, tile))
        self.add("weights", laid_out)
        return laid_out


@dataclass
class Outcome:
    """A product and what the interpreter found while computing it."""

    findings: Findings
    correctness: Correctness
    launches: list[tuple[str, Tile]]

    @property
    def faults(self) -> list[str]:
        """All faults, a wrong product included."""
        wrong = [] if self.correctness.ok else [f"wrong product: {self.correctness.reason}"]
        return [*self.findings.faults, *wrong]


def compute(
    problem: Problem,
    tile: Tile,
    architecture: int = 90,
    options: Options | None = None,
    with_bias: bool = True,
    x_shift: int = 0,
    y_shift: int = 0,
    folder: Path = SOURCE_FOLDER,
) -> Outcome:
    """One product of random operands, with every access checked.

    Args:
        problem: The product.
        tile: The tile that computes it.
        architecture: The architecture to compile for.
        options: How the warps run; the seed also determines the operands.
        with_bias: Whether a bias is added.
        x_shift: Elements by which X begins past an aligned address.
        y_shift: The same for Y.
        folder: The CUDA sources.
    """
    options = options or Options()
    gpu = InterpretedGpu(architecture, options, folder)
    weights, x = make_operands(problem, CPU, seed=options.seed)
    x = x.float().to(WIDE_RANGE) if tile.wide_range else x
    dtype = OUTPUT_DTYPES[problem.precision]
    bias = torch.randn(problem.pattern.rows).to(dtype) if with_bias else None
    x = aligned(x, x_shift)
    y = aligned(torch.full(problem.output_shape, torch.nan, dtype=dtype), y_shift)
    gpu.add("x", x)
    gpu.add("y", y, WRITABLE)
    if bias is not None:
        gpu.add("bias", bias)
    with gpu.patches():
        fallback = tiles.choose(problem, GpuProperties(architecture, 132))
        launch = raw_launch.make_raw_launch(problem, weights, bias, tile, fallback, gpu.lay_out)
        launch(x.data_ptr(), y.data_ptr())
    for memory in gpu.arrays.values():
        unwritten = 0 if memory.written is None else int((memory.written != 1).sum())
        if unwritten:
            gpu.findings.faults.append(f"{memory.name}: {unwritten} bytes not written exactly once")
    truth = reference(problem, weights, x)
    if bias is not None:
        truth += bias if problem.layout == "batch_first" else bias[:, None]
    return Outcome(gpu.findings, check(problem, y, truth), gpu.launches)


def aligned(tensor: torch.Tensor, shift: int = 0) -> torch.Tensor:
    """A copy that begins so many elements past a multiple of 512 bytes."""
    storage = torch.empty(tensor.nbytes + 2 * PAGE_BYTES, dtype=torch.uint8)
    start = -storage.data_ptr() % PAGE_BYTES + shift * tensor.element_size()
    copy = storage[start : start + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
    return copy.copy_(tensor)
