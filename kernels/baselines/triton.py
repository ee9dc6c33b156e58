"""`triton`: a Triton kernel as a good engineer writes it in an afternoon, autotuned.

A block computes a tile of batch × b for one (i, j) and loops over c; X and Y are read and written where they
lie, with strides, in both layouts. So no activation is copied; in `batch_first` with d > 1 neighbouring
elements of a block are d apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from kswatch.kernels.baselines.blocks import empty_output, weight_blocks
from kswatch.kernels.baselines.rival import Rival, quickest, sample_input
from kswatch.kernels.implementation import Empty, Product
from kswatch.kernels.problem import Problem

if TYPE_CHECKING:
    tl: Any

TILES: dict[str, tuple[int, int, int, int, int]] = {
    "16x64x64": (16, 64, 64, 4, 3),
    "32x32x32": (32, 32, 32, 2, 4),
    "64x32x32": (64, 32, 32, 4, 4),
    "64x64x32": (64, 64, 32, 4, 4),
    "128x64x32": (128, 64, 32, 4, 3),
    "64x128x32": (64, 128, 32, 4, 3),
    "128x128x32": (128, 128, 32, 8, 3),
    "128x128x64": (128, 128, 64, 8, 2),
}
"""Tiles of batch × b × c, then warps and stages; the quickest one is kept for each problem."""


class Triton(Rival):
    """One launch of a strided, tiled kernel."""

    name = "triton"
    label = "Triton"

    def __init__(self) -> None:
        self._chosen: dict[tuple[Problem, torch.device], str] = {}

    def laid_out(self, problem: Problem, weights: torch.Tensor) -> torch.Tensor:
        """The blocks (a, d, b, c), contiguous."""
        del problem
        return weight_blocks(weights).contiguous()

    def product(self, problem: Problem, laid_out: torch.Tensor) -> Product:
        """The kernel with the quickest of its tiles, measured here with an input of its own."""
        products = {name: _product(problem, laid_out, tile) for name, tile in TILES.items()}
        chosen = quickest(products, sample_input(problem, laid_out.device))
        self._chosen[problem, laid_out.device] = chosen
        return products[chosen]

    def tile(self, problem: Problem, device: torch.device) -> str | None:
        """The tile of batch × b × c that was kept."""
        return self._chosen.get((problem, device))

    def memory_bytes(self, problem: Problem) -> int:
        """The compulsory bytes and the re-laid weights."""
        return problem.compulsory_bytes + problem.element_bytes * problem.pattern.nonzeros


def _product(problem: Problem, blocks: torch.Tensor, tile: tuple[int, int, int, int, int]) -> Product:
    pattern, batch = problem.pattern, problem.batch
    a, b, c, d = pattern.as_tuple()
    m, n, k, warps, stages = tile
    grid = (d, -(-batch // m) * -(-b // n), a)
    strides = (*_strides(problem, c), *_strides(problem, b))
    precision = "tf32" if problem.precision == "tf32" else "ieee"

    def product(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
        y = empty_output(problem, x, empty)
        _kernel()[grid](
            *(x, blocks, y, batch, b, c, d, *strides),
            **{"PRECISION": precision, "M": m, "N": n, "K": k, "num_warps": warps, "num_stages": stages},
        )
        return y

    return product


def _strides(problem: Problem, features: int) -> tuple[int, int, int, int]:
    """Strides of sample, i, feature and j in X (features = c) or Y (features = b)."""
    pattern, batch = problem.pattern, problem.batch
    if problem.layout == "batch_first":
        return pattern.a * features * pattern.d, features * pattern.d, pattern.d, 1
    return 1, features * pattern.d * batch, pattern.d * batch, batch


@cache
def _kernel() -> Mapping[Any, Any]:
    """The kernel; Triton is imported here, since it is an extra and takes long to import."""
    global tl
    import triton
    import triton.language as tl

    @triton.jit
    def kernel(  # type: ignore[no-untyped-def]  # noqa: ANN202
        x, w, y, batch, b, c, d, xn, xi, xl, xj, yn, yi, yk, yj,  # noqa: ANN001
        PRECISION: tl.constexpr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr,  # noqa: N803
    ):  # fmt: skip
        j, i = tl.program_id(0), tl.program_id(2)
        columns = tl.cdiv(b, N)
        sample = (tl.program_id(1) // columns * M + tl.arange(0, M)).to(tl.int64)
        row = tl.program_id(1) % columns * N + tl.arange(0, N)
        step = tl.arange(0, K)
        x += i.to(tl.int64) * xi + j * xj
        w += (i.to(tl.int64) * d + j) * b * c
        y += i.to(tl.int64) * yi + j * yj
        total = tl.zeros((M, N), dtype=tl.float32)
        for start in range(0, c, K):
            column = start + step
            x_at = x + sample[:, None] * xn + column[None, :].to(tl.int64) * xl
            w_at = w + column[:, None] + row[None, :] * c
            x_tile = tl.load(x_at, mask=(sample[:, None] < batch) & (column[None, :] < c), other=0.0)
            w_tile = tl.load(w_at, mask=(column[:, None] < c) & (row[None, :] < b), other=0.0)
            total = tl.dot(x_tile, w_tile, total, input_precision=PRECISION)
        y_at = y + sample[:, None] * yn + row[None, :].to(tl.int64) * yk
        tl.store(y_at, total.to(y.dtype.element_ty), mask=(sample[:, None] < batch) & (row[None, :] < b))

    return kernel
