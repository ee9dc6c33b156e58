"""A suite: a function that returns products, always the same ones in the same order."""

from __future__ import annotations

from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem


def small_squares() -> list[Problem]:
    """Three small squares at batch 64, fp32 in batch_first."""
    return [Problem(Pattern(2, size, size, 2), 64, "fp32", "batch_first") for size in (16, 32, 48)]
