"""`bmm_strided`: an expert's version with stock torch, which multiplies blocks in place, without a copy."""

from __future__ import annotations

import torch

from kswatch.kernels.baselines.base import Baseline
from kswatch.kernels.baselines.blocks import blocked, empty_output, multiplier, weight_blocks
from kswatch.kernels.baselines.dense import scaled_limitation, scaled_multiplier
from kswatch.kernels.implementation import Empty, Product
from kswatch.kernels.problem import Problem


class BmmStrided(Baseline):
    """`torch.bmm` on strided views with a strided `out=`, one call per slice of the smaller of a and d."""

    name = "bmm_strided"

    def laid_out(self, problem: Problem, weights: torch.Tensor) -> torch.Tensor:
        """The slices of blocks, each contiguous."""
        blocks = weight_blocks(weights)
        return blocks if problem.pattern.a <= problem.pattern.d else blocks.transpose(0, 1).contiguous()

    def product(self, problem: Problem, laid_out: torch.Tensor) -> Product:
        """min(a, d) launches of max(a, d) blocks each; in fp8 one for each of a blocks."""
        if problem.precision == "fp8":
            return _scaled_product(problem, laid_out)
        sliced = 0 if problem.pattern.a <= problem.pattern.d else 1
        multipliers = [multiplier(problem.layout, blocks) for blocks in laid_out]

        def product(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
            y = empty_output(problem, x, empty)
            inputs = blocked(problem, x).unbind(sliced)
            outputs = blocked(problem, y).unbind(sliced)
            for multiply, block_input, block_output in zip(multipliers, inputs, outputs, strict=True):
                multiply(block_input, out=block_output)
            return y

        return product

    def fp8_limitation(self, problem: Problem) -> str | None:
        """Those of `torch._scaled_mm`, which multiplies two matrices whose rows are contiguous."""
        if problem.pattern.d > 1:
            return "torch._scaled_mm, torch's only product of fp8, takes contiguous rows, so d = 1"
        return scaled_limitation(problem, problem.pattern.b, problem.pattern.c)

    def memory_bytes(self, problem: Problem) -> int:
        """The compulsory bytes and the re-laid weights."""
        return problem.compulsory_bytes + problem.element_bytes * problem.pattern.nonzeros

    def limitation(self, problem: Problem) -> str | None:
        """In `batch_first` with d > 1 a block's features have stride d: BLAS accepts no such view."""
        if problem.layout == "batch_last" or problem.pattern.d == 1:
            return None
        return "in batch_first with d > 1 the blocks are not a strided batch of matrices: BLAS needs a copy"


def _scaled_product(problem: Problem, blocks: torch.Tensor) -> Product:
    multipliers = [scaled_multiplier(block) for block in blocks.flatten(0, 1)]

    def product(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
        y = empty_output(problem, x, empty)
        inputs, outputs = (blocked(problem, each).flatten(0, 1).unbind() for each in (x, y))
        for multiply, block_input, block_output in zip(multipliers, inputs, outputs, strict=True):
            multiply(block_input, block_output)
        return y

    return product
