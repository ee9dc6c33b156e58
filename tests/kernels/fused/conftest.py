"""The kernel's source, run on the CPU for one problem and one tile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.artifacts.host_compiler import find_compiler
from kswatch.kernels.fused.cuda.arguments import pack_arguments, pack_numbers
from kswatch.kernels.fused.cuda.nvcc import SOURCE_FOLDER as CUDA_SOURCES
from kswatch.kernels.fused.cuda.tile import SUM_THREADS, Tile
from kswatch.kernels.fused.cuda.weight_layout import lay_out
from kswatch.kernels.fused.host_emulator import emulator as host
from kswatch.kernels.implementation import OUTPUT_DTYPES
from kswatch.kernels.problem import Problem
from kswatch.kernels.reference import Correctness, check, make_operands, reference


@pytest.fixture
def host_compiler() -> None:
    """Skips the test without a compiler that builds the kernel for the CPU."""
    try:
        find_compiler()
    except UnsupportedError as error:
        pytest.skip(str(error))


@pytest.fixture
def run_on_host(host_compiler: None) -> Callable[..., Correctness]:
    """`run_on_host(problem, tile)` -> the errors of Y, which is NaN before; every access is checked."""

    def run(
        problem: Problem,
        tile: Tile,
        seed: int = 1,
        order: int = 1,
        folder: Path = CUDA_SOURCES,
        with_bias: bool = False,
    ) -> Correctness:
        weights, x = make_operands(problem, "cpu", seed)
        bias = make_bias(problem) if with_bias else None
        y = launch_on_host(problem, tile, lay_out(weights, tile), x, bias, order, folder)
        # The reference rounds tf32's operands, so only the fp32 sums may differ.
        judged = replace(problem, precision="fp32") if problem.precision == "tf32" else problem
        truth = reference(problem, weights, x)
        if bias is not None:
            wide = bias.to(truth.dtype)
            truth = truth + (wide if problem.layout == "batch_first" else wide[:, None])
        return check(judged, y, truth)

    return run


def make_bias(problem: Problem) -> torch.Tensor:
    """A random value for each feature of Y."""
    generator = torch.Generator().manual_seed(2)
    drawn = torch.randn(problem.pattern.rows, generator=generator)
    return drawn.to(OUTPUT_DTYPES[problem.precision])


def launch_on_host(
    problem: Problem,
    tile: Tile,
    laid_out: torch.Tensor,
    x: torch.Tensor,
    bias: torch.Tensor | None = None,
    order: int = 1,
    folder: Path = CUDA_SOURCES,
) -> torch.Tensor:
    """The Y of the emulated launches, including the second pass where the tile has one."""
    library = host.build(tile, folder)
    y = torch.full(problem.output_shape, torch.nan, dtype=OUTPUT_DTYPES[problem.precision])
    parted = tile.parts > 1
    sum_dtype = y.dtype if tile.sum_bytes > 4 else torch.float32
    sums = torch.full((tile.parts, *problem.output_shape), torch.nan, dtype=sum_dtype) if parted else y
    extra = () if bias is None else (bias,)
    address = 0 if bias is None else bias.data_ptr()

    def launch(
        shape: tuple[int, int, int], x: torch.Tensor, y: torch.Tensor, second_pass: bool = False
    ) -> None:
        addresses = (x.data_ptr(), laid_out.data_ptr(), address, y.data_ptr())
        packed = pack_arguments(*addresses, pack_numbers(problem, tile))
        host.execute(library, packed, shape, (x, laid_out, *extra, y), order, second_pass=second_pass)

    launch((tile.blocks(problem), tile.threads, tile.launch_bytes), x, sums)
    if parted:
        launch((-(-y.numel() // SUM_THREADS), SUM_THREADS, 0), sums, y, second_pass=True)
    return y
