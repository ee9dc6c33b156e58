"""The reference of every product, in float64 or complex128, and the errors that are allowed against it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite, nan, sqrt
from typing import Literal

import torch

from kswatch.declared.precisions import INPUT_RMS
from kswatch.kernels.implementation import OUTPUT_DTYPES, STORAGE_DTYPES, WEIGHT_DTYPES
from kswatch.kernels.problem import Precision, Problem

RELATIVE_LIMITS: dict[Precision, float] = {
    **{"fp32": 1e-6, "tf32": 5e-4, "fp16": 5e-4, "bf16": 3e-3},
    **{"fp64": 1e-14, "complex64": 1e-6, "fp8": 3e-3},
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

LARGEST_FP8 = 448.0
"""Of e4m3, which has no infinity."""
LEAST_EXPONENT = -100
"""Of a scale, so that the smallest weights have normal numbers as scales, too."""

ScalePer = Literal["row", "tensor"]
"""What has a scale of its own: each row of K, or all weights together."""


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
    """New (weights, x) in the types of the precision: X ~ N(0, 1), W ~ N(0, 1/c), so that Y ~ N(0, 1).

    In fp8 X has `INPUT_RMS` times these values and W the inverse, with one scale, so that every way of
    scaling quantises W to the same values.
    """
    generator = torch.Generator(device).manual_seed(seed)
    pattern, size = problem.pattern, INPUT_RMS.get(problem.precision, 1.0)
    dtype = STORAGE_DTYPES[problem.precision]
    wide = dtype if dtype.itemsize > 4 else torch.float32
    weights = torch.randn(pattern.as_tuple(), generator=generator, device=device, dtype=wide)
    weights = weights / (size * sqrt(pattern.c))
    if problem.precision == "fp8":
        x = torch.randn(problem.input_shape, generator=generator, device=device)
        x = (size * x).clamp_(-LARGEST_FP8, LARGEST_FP8).to(STORAGE_DTYPES["fp8"])
        return round_to_fp8(weights, "tensor").to(WEIGHT_DTYPES["fp8"]), x
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
    weights = round_to_fp8(weights) if problem.precision == "fp8" else weights
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
    if y.shape != reference.shape or y.dtype != OUTPUT_DTYPES[problem.precision]:
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


def quantise(weights: torch.Tensor, scale_per: ScalePer = "row") -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (a, b, c, d) as (elements in e4m3, scales of shape (a, b, 1, d)): W ≈ elements · scales.

    A scale is the smallest power of two with which its weights fit: multiplying by it is exact, so weights
    that were rounded with one scale keep their values when each row gets its own.
    """
    values = weights.float()
    largest = largest_finite(values, 2)
    if scale_per == "tensor":
        largest = largest.amax().expand(largest.shape)
    scales = scales_of(largest)
    return to_fp8(values / scales), scales


def largest_finite(values: torch.Tensor, axis: int | None = None) -> torch.Tensor:
    """The largest absolute value of all, or along an axis that is kept, apart from NaN and infinity.

    One of those would leave no usable scale to the others.
    """
    return torch.linalg.vector_norm(values.nan_to_num(0.0, 0.0, 0.0), inf, axis, keepdim=axis is not None)


def to_fp8(values: torch.Tensor) -> torch.Tensor:
    """The nearest numbers of e4m3 to values of at most 448; NaN for infinity, of which torch makes 448."""
    return values.nan_to_num(nan, nan, nan).to(STORAGE_DTYPES["fp8"])


def scales_of(largest: torch.Tensor) -> torch.Tensor:
    """The smallest powers of two by which numbers up to these sizes, in float32, are divided to fit e4m3."""
    mantissa, exponent = torch.frexp(largest / LARGEST_FP8)
    exponent = (exponent - (mantissa == 0.5).to(exponent.dtype)).clamp_(min=LEAST_EXPONENT)
    return torch.ldexp(torch.ones_like(largest), exponent)


def round_to_fp8(weights: torch.Tensor, scale_per: ScalePer = "row") -> torch.Tensor:
    """The values that quantised weights stand for, in float32; bf16 holds them exactly, too."""
    elements, scales = quantise(weights, scale_per)
    return elements.float() * scales
