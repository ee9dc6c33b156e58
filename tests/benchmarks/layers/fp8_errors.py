"""Errors of products in fp8 against float64, by the length c of a sum: what computes it on this machine.

    python -m tests.benchmarks.layers.fp8_errors          # a table
    python -m tests.benchmarks.layers.fp8_errors --json   # a row for each c and implementation

The CUDA kernel is emulated, with tensor cores whose sums keep 14 bits, as Hopper's do; beside it the same
with sums that are never promoted to fp32, and the error of rounding Y to bf16 alone.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from kswatch.kernels.catalogue import implementation
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.nvcc import SOURCE_FOLDER
from kswatch.kernels.fused.cuda.tile_candidates import candidates
from kswatch.kernels.fused.cuda.weight_layout import lay_out
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.kernels.reference import check, make_operands, reference, relative_limit
from tests.kernels.changed_sources import changed_sources
from tests.kernels.fused.conftest import launch_on_host

COLUMNS = (16, 64, 256, 1024, 4096, 16_384)
BATCH, EMULATED_BATCH = 256, 32
UNPROMOTED = ("tensor_cores.cuh", "P::mma(few, a[l]", "P::mma(sum[j][m][n / 8 + half], a[l]")
H200 = GpuProperties(90, 132)


def rows() -> Iterator[dict[str, object]]:
    """The relative error of each implementation at each c, with its limit."""
    with tempfile.TemporaryDirectory() as scratch:
        unpromoted = changed_sources(Path(scratch) / "source", *UNPROMOTED)
        for columns in COLUMNS:
            yield from _of_libraries(columns)
            yield _row("kernel, emulated", columns, _emulated(columns, SOURCE_FOLDER))
            yield _row("kernel, emulated, sums not promoted", columns, _emulated(columns, unpromoted))


def _of_libraries(columns: int) -> Iterator[dict[str, object]]:
    problem = Problem(Pattern(1, 64, columns, 1), BATCH, "fp8", "batch_first")
    weights, x = make_operands(problem, "cpu", seed=1)
    truth = reference(problem, weights, x)
    yield _row("rounding to bf16", columns, check(problem, truth.bfloat16(), truth).relative_error)
    for name in ("fused", "dense"):
        if implementation(name).unsupported(problem, x.device) is None:
            y = implementation(name).prepare(problem, weights)(x)
            label = {"fused": "twin", "dense": "torch._scaled_mm"}[name]
            yield _row(label, columns, check(problem, y, truth).relative_error)


def _emulated(columns: int, folder: Path) -> float:
    problem = Problem(Pattern(1, 16, columns, 1), EMULATED_BATCH, "fp8", "batch_first")
    tile = next(tile for tile in candidates(problem, H200) if tile.parts == 1 and not tile.walkers)
    weights, x = make_operands(problem, "cpu", seed=1)
    y = launch_on_host(problem, tile, lay_out(weights, tile), x, folder=folder)
    return check(problem, y, reference(problem, weights, x)).relative_error


def _row(name: str, columns: int, error: float) -> dict[str, object]:
    return {"name": name, "c": columns, "error": error, "limit": relative_limit("fp8")}


def main() -> None:
    """Print all rows."""
    torch.set_num_threads(1)
    for row in rows():
        text = "{name:<36} c = {c:>6}  {error:.2e} of {limit:.0e}".format(**row)
        print(json.dumps(row) if "--json" in sys.argv else text, flush=True)


if __name__ == "__main__":
    main()
