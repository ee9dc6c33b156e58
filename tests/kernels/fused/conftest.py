"""The kernel's source, run on the CPU for one problem and one tile."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kernels.fused import host
from kernels.fused.arguments import FORMAT, pack
from kernels.fused.tile import Tile
from kernels.fused.twin_build import find_compiler
from kernels.fused.weights import lay_out
from kernels.implementation import STORAGE_DTYPES
from kernels.problem import Problem
from kernels.reference import Correctness, check, make_operands, reference
from kswatch_errors import UnsupportedError


@pytest.fixture
def host_compiler() -> None:
    """Skips where nothing can build the kernel for the CPU."""
    try:
        find_compiler()
    except UnsupportedError as error:
        pytest.skip(str(error))


@pytest.fixture
def run_on_host(host_compiler: None) -> Callable[..., Correctness]:
    """`run_on_host(problem, tile)` -> how far Y is from float64; Y is NaN before, every access is checked."""

    def run(
        problem: Problem, tile: Tile, seed: int = 1, order: int = 1, folder: Path = host.FOLDER
    ) -> Correctness:
        weights, x = make_operands(problem, "cpu", seed)
        laid_out = lay_out(weights, tile)
        y = torch.full(problem.output_shape, torch.nan, dtype=STORAGE_DTYPES[problem.precision])
        packed = struct.pack(FORMAT, *pack(problem, x.data_ptr(), laid_out.data_ptr(), y.data_ptr()))
        shape = (tile.blocks(problem), tile.threads, tile.shared_bytes)
        host.execute(host.build(tile, folder), packed, shape, (x, laid_out, y), order)
        # The reference rounds tf32's operands, so that sums in fp32 are all that may differ.
        judged = replace(problem, precision="fp32") if problem.precision == "tf32" else problem
        return check(judged, y, reference(problem, weights, x))

    return run
