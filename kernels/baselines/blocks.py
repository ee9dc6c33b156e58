"""Views of activations and weights as the a·d dense blocks of a Kronecker-sparse product."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from kswatch.kernels.implementation import OUTPUT_DTYPES, Empty
from kswatch.kernels.problem import Layout, Problem


def weight_blocks(weights: torch.Tensor) -> torch.Tensor:
    """Weights of shape (a, b, c, d) as blocks (a, d, b, c), each a matrix that BLAS reads in place.

    Where d = 1 that is a view, also of the transposed weights; otherwise a copy.
    """
    blocks = weights.permute(0, 3, 1, 2)
    a, d, b, c = blocks.shape
    in_place = d == 1 and blocks.stride()[2:] in ((c, 1), (1, b)) and blocks.stride(0) == b * c
    return blocks if in_place else blocks.contiguous()


def blocked(problem: Problem, activations: torch.Tensor) -> torch.Tensor:
    """X or Y as a view (a, d, features, batch) or, in `batch_first`, (a, d, batch, features)."""
    pattern, batch = problem.pattern, problem.batch
    if problem.layout == "batch_last":
        return activations.view(pattern.a, -1, pattern.d, batch).transpose(1, 2)
    return activations.view(batch, pattern.a, -1, pattern.d).permute(1, 3, 0, 2)


def unpermuted(problem: Problem, activations: torch.Tensor) -> torch.Tensor:
    """X or Y of a problem with d = 1 as a view (a, features, batch) or (a, batch, features)."""
    a, batch = problem.pattern.a, problem.batch
    if problem.layout == "batch_last":
        return activations.view(a, -1, batch)
    return activations.view(batch, a, -1).transpose(0, 1)


def multiplier(layout: Layout, blocks: torch.Tensor) -> Callable[..., torch.Tensor]:
    """One `torch.bmm` of blocks (n, b, c) with (n, c, batch) or, in `batch_first`, (n, batch, c)."""
    if layout == "batch_last":
        return partial(torch.bmm, blocks)
    transposed = blocks.transpose(1, 2)
    return lambda activations, out=None: torch.bmm(activations, transposed, out=out)


def gather(problem: Problem, x: torch.Tensor) -> torch.Tensor:
    """X copied block by block: (a·d, c, batch) or, in `batch_first`, (a·d, batch, c)."""
    copied = blocked(problem, x).contiguous()
    return copied.view(-1, copied.shape[2], copied.shape[3])


def scatter(problem: Problem, blocks: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Copy the blocks (a·d, b, batch) or (a·d, batch, b) to their places in Y; returns Y."""
    target = blocked(problem, y)
    target.copy_(blocks.view(target.shape))
    return y


def empty_output(problem: Problem, x: torch.Tensor, empty: Empty) -> torch.Tensor:
    """An uninitialised Y on x's device."""
    return empty(problem.output_shape, dtype=OUTPUT_DTYPES[problem.precision], device=x.device)
