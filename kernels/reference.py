"""The reference of every product, in float64 or complex128, and the errors that are allowed against it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite, sqrt

import torch

from kswatch.kernels.implementation import STORAGE_DTYPES
from kswatch.kernels.problem import Precision, Problem

RELATIVE_LIMITS: dict[Precision, float] = {
    **{"fp32": 1e-6, "tf32": 5e-4, "fp16": 5e-4, "bf16": 3e-3},
    **{"fp64": 1e-14, "complex64": 1e-6},
}
"""Largest relative Frobenius error of a correct product. In fp64 the reference errs by some 1e-16 times
the square root of c (`tests/kernels/test_wide_precisions.py`, against exact sums), far below the limit."""

MAX_ERROR_FACTOR = 16
"""The largest absolute error may be this multiple of the relative limit, times RMS(reference)."""

BMM_FACTOR = 2
"""Twice the error of `bmm` is allowed as well, because long sums round more in every library ..."""

BMM_LIMIT = 4
"""... but never more than this multiple of the limit, so that a broken `bmm` cannot excuse any error."""

CHUNK_ELEMENTS = 2**25
"""Keeps each float64 temporary below some 256 MB."""

TF32_DROPPED_BITS = 13


@dataclass(frozen=True)
class Correctness:
    """The errors of a product against the reference, and whether it is correct; if not, with the reason."""

    relative_error: float
    """Frobenius norm of the difference over that of the reference; inf where y is not finite."""
    max_error: float
    """Largest absolute difference; inf where y is not finite."""
    ok: bool
    reason: str | None = None


def make_operands(
    problem: Problem, device: torch.device | str, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """New (weights, x) in the storage type: X ~ N(0, 1), W ~ N(0, 1/c), so that Y ~ N(0, 1)."""
    generator = torch.Generator(device).manual_seed(seed)
    dtype, pattern = STORAGE_DTYPES[problem.precision], problem.pattern
    wide = dtype if dtype.itemsize > 4 else torch.float32
    weights = torch.randn(pattern.as_tuple(), generator=generator, device=device, dtype=wide)
    weights = weights / sqrt(pattern.c)
    x = torch.randn(problem.input_shape, generator=generator, device=device, dtype=dtype)
    return weights.to(dtype), x


def reference(problem: Problem, weights: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The product, of `output_shape`, in float64 or complex128 for operands rounded to the precision.

    Computed on the device of x, in chunks of the batch.
    """
    batch_axis = 0 if problem.layout == "batch_first" else 1
    y = torch.empty(problem.output_shape, dtype=exact_dtype(x), device=x.device)
    features = max(problem.pattern.rows, problem.pattern.columns)
    chunk = max(1, CHUNK_ELEMENTS // features)
    rounded_weights = _rounded(problem, weights)
    for x_part, y_part in zip(x.split(chunk, batch_axis), y.split(chunk, batch_axis), strict=True):
        y_part.copy_(_product(problem, rounded_weights, _rounded(problem, x_part)))
    return y


def check(
    problem: Problem, y: torch.Tensor, reference: torch.Tensor, bmm_error: float | None = None
) -> Correctness:
    """Compare y with the reference: a relative limit on the norm, an absolute one on every element.

    The relative error of `bmm` on the same operands may widen the limits.
    """
    if y.shape != reference.shape or y.dtype != STORAGE_DTYPES[problem.precision]:
        form = f"{tuple(y.shape)} in {y.dtype}"
        return _wrong(f"the product is {form}, not of {problem}'s output shape and precision")
    if broken := y.numel() - int(torch.isfinite(y).sum()):
        return _wrong(f"{broken} of {y.numel()} elements are NaN or Inf")
    squared_error, squared_norm, max_error = _distances(y, reference)
    relative_error = sqrt(squared_error / squared_norm) if squared_norm else inf if squared_error else 0.0
    limit = relative_limit(problem.precision, bmm_error)
    max_limit = MAX_ERROR_FACTOR * limit * sqrt(squared_norm / y.numel())
    reason = None
    if not relative_error <= limit:
        reason = f"relative error {relative_error:.2e} exceeds {limit:.1e} for {problem.precision}"
    elif not max_error <= max_limit:
        reason = f"largest error {max_error:.2e} exceeds {max_limit:.1e}, though the norm is within its limit"
    return Correctness(relative_error, max_error, reason is None, reason)


def relative_limit(precision: Precision, bmm_error: float | None = None) -> float:
    """Largest relative error of a correct product in a precision, given the error of `bmm`."""
    limit = RELATIVE_LIMITS[precision]
    if bmm_error is None or not isfinite(bmm_error):
        return limit
    return max(limit, min(BMM_FACTOR * bmm_error, BMM_LIMIT * limit))


def _wrong(reason: str) -> Correctness:
    return Correctness(inf, inf, ok=False, reason=reason)


def _distances(y: torch.Tensor, reference: torch.Tensor) -> tuple[float, float, float]:
    """Squared norm of the difference, squared norm of the reference, largest absolute difference."""
    squared_error = squared_norm = max_error = 0.0
    parts = zip(y.reshape(-1).split(CHUNK_ELEMENTS), reference.reshape(-1).split(CHUNK_ELEMENTS), strict=True)
    for y_part, reference_part in parts:
        difference = y_part.to(reference_part.dtype) - reference_part
        if difference.is_complex():
            difference, reference_part = torch.view_as_real(difference), torch.view_as_real(reference_part)
        squared_error += float(difference.square().sum())
        squared_norm += float(reference_part.square().sum())
        max_error = max(max_error, float(difference.abs().max()))
    return squared_error, squared_norm, max_error


def _product(problem: Problem, weights: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """K[(i, k, j), (i, l, j)] = W[i, k, l, j], applied to a part of the batch."""
    a, b, c, d = problem.pattern.as_tuple()
    if problem.layout == "batch_first":
        return torch.einsum("iklj,nilj->nikj", weights, x.view(-1, a, c, d)).reshape(-1, a * b * d)
    return torch.einsum("iklj,iljn->ikjn", weights, x.reshape(a, c, d, -1)).reshape(a * b * d, -1)


def exact_dtype(operand: torch.Tensor) -> torch.dtype:
    """The dtype of the reference: float64, or complex128 of complex numbers."""
    return torch.complex128 if operand.is_complex() else torch.float64


def _rounded(problem: Problem, operand: torch.Tensor) -> torch.Tensor:
    """The operand in the reference's dtype, after rounding to the precision; only tf32 is not a storage."""
    rounded = round_to_tf32(operand) if problem.precision == "tf32" else operand
    return rounded.to(exact_dtype(operand))


def round_to_tf32(operand: torch.Tensor) -> torch.Tensor:
    """float32 rounded to 10 bits of fraction, ties away from zero (PTX: cvt.rna.tf32.f32)."""
    half = 1 << (TF32_DROPPED_BITS - 1)
    bits = operand.contiguous().view(torch.int32) + half
    return (bits >> TF32_DROPPED_BITS << TF32_DROPPED_BITS).view(torch.float32)
