"""`fused`: the product of this project, without permutation passes, on a GPU or the CPU."""

from __future__ import annotations

import torch

from kswatch.kernels.fused.cpu_twin import twin
from kswatch.kernels.fused.cuda import launch
from kswatch.kernels.implementation import Implementation, Product
from kswatch.kernels.problem import Problem

RELAID_BYTES = 4
"""Bytes of one re-laid weight in the twin; in the kernel it has at most as many."""


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

    def prepare_with_bias(self, problem: Problem, weights: torch.Tensor, bias: torch.Tensor) -> Product:
        """See `Implementation`; on a GPU the kernel adds the bias before it rounds Y."""
        if weights.is_cuda:
            return launch.prepare(problem, weights, bias)
        return super().prepare_with_bias(problem, weights, bias)

    def memory_bytes(self, problem: Problem) -> int:
        """The compulsory bytes and the re-laid weights: the twin stores fp16 and bf16 weights as fp32."""
        return problem.compulsory_bytes + RELAID_BYTES * problem.pattern.nonzeros

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
