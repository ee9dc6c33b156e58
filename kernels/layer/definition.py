"""The product and its weight gradient by their definition, in differentiable torch operations."""

from __future__ import annotations

import torch

from kswatch.kernels.problem import Layout

X_INDICES = {"batch_first": "nilj", "batch_last": "iljn"}
Y_INDICES = {"batch_first": "nikj", "batch_last": "ikjn"}


def product_by_definition(layout: Layout, weights: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Y[(i, k, j)] = Σ_l W[i, k, l, j] X[(i, l, j)], for any batch, 0 included, and any dtype."""
    equation = f"iklj,{X_INDICES[layout]}->{Y_INDICES[layout]}"
    a, _, _, d = weights.shape
    indexed = torch.einsum(equation, weights, _indexed(x, a, d, layout))
    return indexed.flatten(_axis(layout), _axis(layout) + 2)


def weights_gradient(a: int, d: int, layout: Layout, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """G[i, k, l, j] = Σ_n Y[n, (i, k, j)] X[n, (i, l, j)]: the outer product of each block, (a, b, c, d)."""
    equation = f"{Y_INDICES[layout]},{X_INDICES[layout]}->iklj"
    return torch.einsum(equation, _indexed(y, a, d, layout), _indexed(x, a, d, layout))


def _indexed(activations: torch.Tensor, a: int, d: int, layout: Layout) -> torch.Tensor:
    """X or Y as a 4-D view with the indices of the equations."""
    return activations.unflatten(_axis(layout), (a, -1, d))


def _axis(layout: Layout) -> int:
    return 1 if layout == "batch_first" else 0
