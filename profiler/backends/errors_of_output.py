"""The distance of an output from its reference."""

from __future__ import annotations

from math import inf

import torch

from kswatch.kernels.reference import Correctness


def compare(y: torch.Tensor, part: torch.Tensor, truth: torch.Tensor, limit: float) -> Correctness:
    """Part of the output y against the reference of that part; all of y must be finite.

    The relative error is the Frobenius norm of the difference over that of the reference.
    """
    if broken := y.numel() - int(torch.isfinite(y).sum()):
        return Correctness(inf, inf, False, f"{broken} of {y.numel()} elements are NaN or Inf")
    if part.shape != truth.shape:
        shapes = f"{tuple(part.shape)}, not {tuple(truth.shape)}"
        return Correctness(inf, inf, False, f"the output has the shape {shapes}")
    difference = part.to(truth.dtype) - truth
    relative = float(torch.linalg.norm(difference) / torch.linalg.norm(truth))
    largest = float(difference.abs().max())
    if relative <= limit:
        return Correctness(relative, largest, True)
    return Correctness(relative, largest, False, f"relative error {relative:.2e} exceeds {limit:.1e}")
