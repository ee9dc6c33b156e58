"""Activations and weights seen as the a·d dense blocks that a Kronecker-sparse product consists of."""

from __future__ import annotations

import torch

from kernels.implementation import Empty
from kernels.problem import Problem


def weight_blocks(weights: torch.Tensor) -> torch.Tensor:
    """Weights of shape (a, b, c, d) as contiguous blocks (a, d, b, c)."""
    return weights.permute(0, 3, 1, 2).contiguous()


def blocked(problem: Problem, activations: torch.Tensor) -> torch.Tensor:
    """X or Y as a view (a, d, features, batch) or, in `batch_first`, (a, d, batch, features)."""
    pattern, batch = problem.pattern, problem.batch
    if problem.layout == "batch_last":
        return activations.view(pattern.a, -1, pattern.d, batch).permute(0, 2, 1, 3)
    return activations.view(batch, pattern.a, -1, pattern.d).permute(1, 3, 0, 2)


def multiply(
    problem: Problem, blocks: torch.Tensor, activations: torch.Tensor, out: torch.Tensor | None = None
) -> torch.Tensor:
    """One `torch.bmm` of blocks (n, b, c) with (n, c, batch) or, in `batch_first`, (n, batch, c)."""
    if problem.layout == "batch_last":
        return torch.bmm(blocks, activations, out=out)
    return torch.bmm(activations, blocks.transpose(1, 2), out=out)


def gather(problem: Problem, x: torch.Tensor) -> torch.Tensor:
    """X block after block, (a·d, c, batch) or (a·d, batch, c): a copy where d > 1, else a view."""
    view = blocked(problem, x)
    return (view if problem.pattern.d == 1 else view.contiguous()).flatten(0, 1)


def scatter(problem: Problem, blocks: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Y with the blocks (a·d, b, batch) or (a·d, batch, b) copied to where they belong."""
    blocked(problem, y).copy_(blocks.unflatten(0, (problem.pattern.a, problem.pattern.d)))
    return y


def empty_output(problem: Problem, x: torch.Tensor, empty: Empty) -> torch.Tensor:
    """An uninitialised Y of x's dtype and device."""
    return empty(problem.output_shape, dtype=x.dtype, device=x.device)
