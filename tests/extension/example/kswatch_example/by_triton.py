"""The product of block-diagonal weights (d = 1) by a Triton kernel."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

import torch

from kswatch.kernels.implementation import Empty, Implementation, Product
from kswatch.kernels.problem import Problem

TILE = 64


class ExampleTriton(Implementation):
    """One Triton program for each block and tile of the batch."""

    name = "example_triton"

    def unsupported(self, problem: Problem, device: torch.device) -> str | None:
        """It needs Triton and an NVIDIA GPU, and computes fp16 of d = 1 in batch_first."""
        if find_spec("triton") is None:
            return "Triton is not installed: pip install triton"
        if device.type != "cuda":
            return f"Triton compiles for NVIDIA GPUs, not for the {device.type}"
        if (problem.precision, problem.layout, problem.pattern.d) != ("fp16", "batch_first", 1):
            return "it is written for fp16, batch_first and d = 1"
        if {problem.pattern.b, problem.pattern.c} - {16, 32, 64, 128}:
            return "b and c are powers of two from 16 to 128"
        return None

    def prepare(self, problem: Problem, weights: torch.Tensor) -> Product:
        """Weights as (a, b, c), as they are."""
        a, b, c, _ = problem.pattern.as_tuple()
        blocks, kernel = weights.reshape(a, b, c).contiguous(), _kernel()

        def product(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
            y = empty(problem.output_shape, dtype=x.dtype, device=x.device)
            tiles = -(-problem.batch // TILE)
            kernel[(a, tiles)](x, blocks, y, problem.batch, a * c, a * b, b, c, TILE)
            return y

        return product


@cache
def _kernel() -> Any:  # noqa: ANN401  (of Triton)
    """The kernel; Triton is imported here alone, so that the module can be imported without it."""
    global tl
    import triton
    import triton.language as tl

    @triton.jit
    def multiply(  # noqa: ANN202
        x, k, y, batch, columns, rows, b: tl.constexpr, c: tl.constexpr, tile: tl.constexpr  # noqa: ANN001
    ):  # fmt: skip
        block, samples = tl.program_id(0), tl.program_id(1) * tile + tl.arange(0, tile)
        inside = samples[:, None] < batch
        inputs = samples[:, None] * columns + block * c + tl.arange(0, c)[None, :]
        weights = block * b * c + tl.arange(0, b)[None, :] * c + tl.arange(0, c)[:, None]
        sums = tl.dot(tl.load(x + inputs, mask=inside, other=0.0), tl.load(k + weights))
        outputs = samples[:, None] * rows + block * b + tl.arange(0, b)[None, :]
        tl.store(y + outputs, sums.to(tl.float16), mask=inside)

    return multiply
