"""Measured problems whose costs follow a known law."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kswatch.kernels.heuristics.measured import MeasuredProblem
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem

DEVICE = {"model": "Made-up 80GB", "kind": "cuda"}

BLOCKS = [(b, c) for b in (32, 64, 96, 128) for c in (32, 64, 128)]


def problems(precision: str = "fp32", layout: str = "batch_last", batch: int = 4096) -> list[Problem]:
    return [
        Problem(Pattern(a, b, c, d), batch, precision, layout)
        for b, c in BLOCKS
        for a in (1, 4, 16)
        for d in (1, 2, 8)
    ]


def bmm_ms(problem: Problem) -> float:
    """Three passes over memory where d > 1, at 1 GB/ms, and 10 GFLOP/ms."""
    passes = 3 if problem.pattern.d > 1 else 1
    return 0.01 + passes * problem.compulsory_bytes / 1e9 + problem.flops / 1e10


def fused_ms(problem: Problem) -> float:
    """One pass, but multiplying at 4 GFLOP/ms only: wins where there is little to multiply per byte."""
    return 0.01 + problem.compulsory_bytes / 1e9 + problem.flops / 4e9


def measured(
    chosen: Sequence[Problem] | None = None,
    fused: Callable[[Problem], float] = fused_ms,
    bmm: Callable[[Problem], float] = bmm_ms,
) -> list[MeasuredProblem]:
    return [
        MeasuredProblem(one, {"fused": fused(one), "bmm": bmm(one)}, bmm(one) / fused(one))
        for one in chosen or problems()
    ]
