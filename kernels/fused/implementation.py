"""`fused`: the product of this project, without permutation passes, on whatever device there is."""

from __future__ import annotations

import torch

from kernels.fused import launch, twin
from kernels.implementation import Empty, Implementation, Product
from kernels.problem import Problem


class Fused(Implementation):
    """The CUDA kernel on a GPU; its C++ twin on the CPU."""

    name = "fused"

    def unsupported(self, problem: Problem, device: torch.device) -> str | None:
        """No compiler, no driver, or a precision that the device does not have."""
        if device.type == "cuda":
            return launch.unsupported(problem, device)
        return twin.unsupported(problem)

    def prepare(self, problem: Problem, weights: torch.Tensor, bias: torch.Tensor | None = None) -> Product:
        """Weights re-laid out for the tile, once; a bias of shape (a·b·d,) is added in the kernel.

        Raises:
            UnsupportedError: `unsupported` would have said so.
        """
        if weights.is_cuda:
            return launch.prepare(problem, weights, bias)
        product = twin.prepare(problem, weights)
        return product if bias is None else _then_add(product, problem, bias.detach().clone())

    def memory_bytes(self, problem: Problem) -> int:
        """The compulsory bytes and the re-laid weights: no temporaries."""
        return problem.compulsory_bytes + problem.element_bytes * problem.pattern.nonzeros

    def code_hash(self, problem: Problem, device: torch.device) -> str | None:
        """sha256 of the cubin or of the twin's library."""
        if device.type == "cuda":
            return launch.code_hash(problem, device)
        return twin.code_hash(problem)

    def tile(self, problem: Problem, device: torch.device) -> str | None:
        """The tile in words."""
        if device.type == "cuda":
            return launch.tile(problem, device)
        return twin.tile(problem)


def _then_add(product: Product, problem: Problem, bias: torch.Tensor) -> Product:
    """The twin's product and a bias, which it does not take itself."""
    more = bias if problem.layout == "batch_first" else bias[:, None]

    def with_bias(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
        return product(x, empty=empty).add_(more)

    return with_bias
