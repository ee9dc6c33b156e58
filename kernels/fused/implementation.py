"""`fused`: the product of this project, without permutation passes, on a GPU or the CPU."""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Any

import torch

from kswatch.kernels.fused.cpu_twin import tiles as twin_tiles
from kswatch.kernels.fused.cpu_twin import twin
from kswatch.kernels.fused.cuda import launch
from kswatch.kernels.implementation import Implementation, LiveProduct, Product, add_bias
from kswatch.kernels.problem import Problem

_live_twin = lru_cache(maxsize=4096)(twin.unpacked_product)
RELAID_BYTES = 4
"""Bytes of one re-laid weight of at most 4 in the twin; in the kernel it has at most as many."""
WIDENED_BYTES = 2
"""Bytes of an element of X in fp8 as the twin multiplies it; the kernel needs no copy."""


class Fused(Implementation):
    """The CUDA kernel on a GPU; its C++ twin on the CPU."""

    name = "fused"

    def unsupported(self, problem: Problem, device: torch.device) -> str | None:
        """No compiler, no driver, or a precision that the device does not have."""
        if device.type == "cuda":
            return launch.unsupported(problem, device)
        return twin.unsupported(problem)

    def prepare(self, problem: Problem, weights: torch.Tensor) -> Product:
        """See `Implementation`; the weights are re-laid out for the tile.

        Raises:
            UnsupportedError: `unsupported` returns a reason.
        """
        return (launch if weights.is_cuda else twin).prepare(problem, weights)

    def lay_out(self, problem: Problem, weights: torch.Tensor, transposed: bool = False) -> Any:  # noqa: ANN401
        """See `Implementation`."""
        if weights.is_cuda:
            return super().lay_out(problem, weights, transposed)
        return twin.lay_out(problem, weights, transposed)

    def weight_order(self, problem: Problem, device: torch.device) -> Hashable:
        """The tile's; on the CPU the same for every batch."""
        if device.type == "cuda":
            return self.tile(problem, device)
        chosen = twin_tiles.choose(problem, twin.require_twin().limits)
        return chosen.vectors, chosen.period

    def reads_in_place(self, problem: Problem, transposed: bool) -> bool:
        """Rows of W in fp32, on the CPU in `batch_last`, unless they would share a few sets of the cache."""
        in_order = problem.layout == "batch_last" and problem.pattern.d == 1 and not transposed
        return in_order and problem.precision == "fp32" and problem.pattern.c % 512 != 0

    def live_product(self, problem: Problem, device: torch.device, transposed: bool = False) -> LiveProduct:
        """See `Implementation`; on the CPU one call of the twin."""
        if device.type == "cuda":
            return launch.live_product(problem, device, transposed)
        multiply = _live_twin(problem, transposed)
        return lambda weights, x, bias: add_bias(problem, multiply(weights, x), bias)

    def product(self, problem: Problem, laid_out: Any) -> Product:  # noqa: ANN401
        """See `Implementation`."""
        if isinstance(laid_out, twin.PackedWeights):
            return twin.product(problem, twin.PackedWeights(twin.plan_for(problem), laid_out.words))
        return super().product(problem, laid_out)

    def prepare_with_bias(self, problem: Problem, weights: torch.Tensor, bias: torch.Tensor) -> Product:
        """See `Implementation`; on a GPU the kernel adds the bias before it rounds Y."""
        if weights.is_cuda:
            return launch.prepare(problem, weights, bias)
        return super().prepare_with_bias(problem, weights, bias)

    def memory_bytes(self, problem: Problem) -> int:
        """The compulsory bytes and the re-laid weights: the twin stores fp16 and bf16 weights as fp32.

        In fp8 the twin also has a copy of X in bf16.
        """
        relaid_bytes = max(RELAID_BYTES, problem.element_bytes)
        widened = WIDENED_BYTES * problem.batch * problem.pattern.columns if problem.precision == "fp8" else 0
        return problem.compulsory_bytes + relaid_bytes * problem.pattern.nonzeros + widened

    def code_hash(self, problem: Problem, device: torch.device) -> str | None:
        """sha256 of the cubin or of the twin's library."""
        if device.type == "cuda":
            return launch.code_hash(problem, device)
        return twin.code_hash(problem)

    def tile(self, problem: Problem, device: torch.device) -> str | None:
        """The chosen tile, readable."""
        if device.type == "cuda":
            return launch.tile(problem, device)
        return twin.tile(problem)
