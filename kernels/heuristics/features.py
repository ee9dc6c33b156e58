"""The features of a problem that the trees use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from kswatch.kernels.heuristics.cost_model import Floats
from kswatch.kernels.problem import Problem

FEATURES: tuple[str, ...] = (
    "log2_a",
    "log2_b",
    "log2_c",
    "log2_d",
    "log2_batch",
    "log2_h",
    "log2_dh",
    "log2_ad",
    "log2_nonzeros",
    "log2_b_over_c",
    "d_is_1",
    "a_is_1",
    "twos_in_b",
    "twos_in_c",
    "twos_in_d",
    "three_divides_b",
    "three_divides_c",
)

SIZES = FEATURES[:5]
"""The features whose measured range limits the confidence of a prediction."""


@lru_cache(maxsize=8192)
def features(problem: Problem) -> tuple[float, ...]:
    """The values of `FEATURES`."""
    pattern = problem.pattern
    a, b, c, d = (math.log2(value) for value in pattern.as_tuple())
    h = math.log2(pattern.h)
    sizes = [a, b, c, d, math.log2(problem.batch)]
    shape = [h, d + h, a + d, a + b + c + d, b - c, float(pattern.d == 1), float(pattern.a == 1)]
    alignment = [float(_twos(value)) for value in (pattern.b, pattern.c, pattern.d)]
    return (*sizes, *shape, *alignment, float(pattern.b % 3 == 0), float(pattern.c % 3 == 0))


def feature_table(problems: Sequence[Problem]) -> Floats:
    """The features of many problems, of shape (problems, features)."""
    return np.array([features(problem) for problem in problems], dtype=float)


def _twos(value: int) -> int:
    """The exponent of 2 in the value, which limits the alignment of vector loads and tiles."""
    return (value & -value).bit_length() - 1
