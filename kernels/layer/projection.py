"""The nearest product of Kronecker-sparse factors to a dense matrix.

Two factors have a closed form: the product's blocks are disjoint, and each is best approximated by its
truncated singular value decomposition (Dao et al., "Monarch", ICML 2022, algorithm 1, for rank 1; Le et al.,
"Spurious valleys, NP-hardness, and tractability of sparse matrix factorization with fixed support",
SIMAX 2023, for any rank). Longer chains are split one factor after the other (Le, Zheng, Riccietti,
Gribonval, "Fast learning of fast transforms, with guarantees", ICASSP 2022; chains of any patterns: Zheng's
and their "Butterfly factorization with error guarantees", arXiv 2411.04506): exact where the matrix is such a
product, not always the nearest one elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kswatch.errors import UsageError
from kswatch.kernels.pattern import Pattern, check_chain


@dataclass(frozen=True)
class Projection:
    """Factors that approximate a matrix."""

    weights: tuple[torch.Tensor, ...]
    """One per pattern, (a, b, c, d) each, in float64."""
    relative_error: float
    """Frobenius norm of the residual over that of the matrix; 0 for a matrix of zeros."""


def project(matrix: torch.Tensor, patterns: Sequence[Pattern]) -> Projection:
    """The matrix (features out, features in) as K_n ... K_1; `patterns[0]` belongs to K_1, the right-most.

    Computed in float64 on the device of the matrix.

    Raises:
        UsageError: the patterns do not chain, or do not make a matrix of this shape; or the matrix has no
            values, values of another kind than real numbers, NaN or infinities.
    """
    whole = check_projection(matrix, patterns)
    if matrix.is_meta:
        raise UsageError("a matrix on meta has no values to project; load it on another device first")
    exact = matrix.detach().double()
    if not exact.isfinite().all():
        count = int((~exact.isfinite()).sum())
        raise UsageError(f"the matrix holds {count} NaN or infinite values, so no matrix is nearest to it")
    weights = _split_all(_restricted(exact, whole), patterns)
    norm = torch.linalg.norm(exact).item()
    residual = torch.linalg.norm(exact - chain_matrix(weights)).item()
    return Projection(weights, residual / norm if norm else 0.0)


def check_projection(matrix: torch.Tensor, patterns: Sequence[Pattern]) -> Pattern:
    """The pattern of the product, if a matrix of this shape and dtype, on any device, can be projected on it.

    Raises:
        UsageError: it cannot, whatever its values.
    """
    check_chain(patterns)
    shape = (patterns[-1].rows, patterns[0].columns)
    if tuple(matrix.shape) != shape:
        raise UsageError(
            f"these patterns make a matrix of {shape[0]} x {shape[1]}, not "
            f"{' x '.join(map(str, matrix.shape))}; choose others, whose abd and acd are its sides"
        )
    if not matrix.is_floating_point():
        raise UsageError(
            f"a matrix of {matrix.dtype} is not projected; pass one of real floating-point numbers (of a "
            "quantised layer: that from before the quantisation)"
        )
    return product_pattern(patterns)


def chain_matrix(weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """K_n ... K_1 as one dense matrix (features out, features in)."""
    matrix = _factor_matrix(weights[0])
    for weight in weights[1:]:
        a, _, c, d = weight.shape
        columns = matrix.view(a, c, d, -1)
        matrix = torch.einsum("iklj,iljn->ikjn", weight, columns).flatten(0, 2)
    return matrix


def _factor_matrix(weight: torch.Tensor) -> torch.Tensor:
    """K[(i, k, j), (i, l, j)] = W[i, k, l, j], and 0 elsewhere; without writing in place, for compilers."""
    a, b, c, d = weight.shape
    over_j = torch.diag_embed(weight.permute(1, 2, 0, 3))  # k l i j j'
    over_both = torch.diag_embed(over_j.permute(0, 1, 3, 4, 2))  # k l j j' i i'
    return over_both.permute(4, 0, 2, 5, 1, 3).reshape(a * b * d, a * c * d)


def product_pattern(patterns: Sequence[Pattern]) -> Pattern:
    """The pattern of the product of a chain; `patterns[0]` belongs to the right-most factor.

    For two factors, left (a1, b1, c1, d1) and right (a2, b2, c2, d2): (a1, b1·d1/d2, c2·a2/a1, d2)
    (arXiv 2411.04506, on chainable patterns).

    Raises:
        UsageError: the product has no pattern, since its blocks would overlap.
    """
    whole = patterns[0]
    for left in patterns[1:]:
        if whole.a % left.a or left.d % whole.d or left.a * left.c % whole.a:
            raise UsageError(
                f"({left}) times ({whole}) has no pattern, so no matrix can be projected onto it; choose "
                "patterns where the left a divides the right a, the right d divides the left d, and the "
                "right a divides the left a·c"
            )
        whole = Pattern(left.a, left.b * left.d // whole.d, whole.c * whole.a // left.a, whole.d)
    return whole


def _restricted(matrix: torch.Tensor, pattern: Pattern) -> torch.Tensor:
    """The entries of the matrix on the pattern, as weights: the nearest matrix with a single factor."""
    a, b, c, d = pattern.as_tuple()
    blocks = matrix.reshape(a, b, d, a, c, d).diagonal(dim1=0, dim2=3).diagonal(dim1=1, dim2=3)
    return blocks.permute(2, 0, 1, 3)


def _split_all(weights: torch.Tensor, patterns: Sequence[Pattern]) -> tuple[torch.Tensor, ...]:
    if len(patterns) == 1:
        return (weights.contiguous(),)
    left, right = _split(weights, patterns[-1], product_pattern(patterns[:-1]))
    return (*_split_all(right, patterns[:-1]), left)


def _split(weights: torch.Tensor, left: Pattern, right: Pattern) -> tuple[torch.Tensor, torch.Tensor]:
    """The best two factors of a product's weights; each takes the square root of the singular values.

    In one b1×c2 block, rank = a1·c1/a2 columns of the left factor meet as many rows of the right one;
    no two blocks overlap.
    """
    rank, outer, inner = left.a * left.c // right.a, left.d // right.d, right.a // left.a
    # (a1, b1, outer, inner, c2, d2): one b1×c2 block for each of the others
    blocks = weights.reshape(left.a, left.b, outer, inner, right.c, right.d).permute(0, 2, 3, 5, 1, 4)
    u, s, vh = torch.linalg.svd(blocks, full_matrices=False)
    kept = min(rank, s.shape[-1])
    roots = s[..., :kept].sqrt()
    lefts = _padded(u[..., :kept] * roots[..., None, :], -1, rank)
    rights = _padded(roots[..., None] * vh[..., :kept, :], -2, rank)
    return (
        lefts.permute(0, 4, 2, 5, 1, 3).reshape(left.as_tuple()).contiguous(),
        rights.permute(0, 2, 4, 1, 5, 3).reshape(right.as_tuple()).contiguous(),
    )


def _padded(factors: torch.Tensor, axis: int, size: int) -> torch.Tensor:
    """The factors padded with zeros to `size`, where the blocks have a smaller rank."""
    missing = size - factors.shape[axis]
    return torch.nn.functional.pad(factors, (0, missing) if axis == -1 else (0, 0, 0, missing))
