"""Measured problems, on which heuristics are fitted and scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from kswatch.kernels.heuristics.base import Prediction
from kswatch.kernels.problem import Problem


@dataclass(frozen=True)
class MeasuredProblem:
    """One problem on one device, in one metric."""

    problem: Problem
    costs: Mapping[str, float]
    """Latency in ms or energy in mJ by implementation, without those that have no usable measurement."""
    speedup: float | None
    """Best baseline over fused; None where a baseline is missing and the winner is therefore unknown."""

    @property
    def block(self) -> tuple[int, int]:
        """(b, c); problems with the same block are held out together."""
        return self.problem.pattern.b, self.problem.pattern.c


Rule = Callable[[Problem], Prediction]
Fit = Callable[[Sequence[MeasuredProblem]], Rule]
"""Makes a rule from measured problems of one device."""


def with_known_winner(measured: Sequence[MeasuredProblem]) -> list[MeasuredProblem]:
    """The problems with a known winner."""
    return [problem for problem in measured if problem.speedup is not None]


HeldOutPredictions = list[tuple[MeasuredProblem, Prediction]]
PredictBlock = Callable[[tuple[int, int]], HeldOutPredictions]


def held_out(
    measured: Sequence[MeasuredProblem],
    fit: Fit,
    each: Callable[[PredictBlock, Sequence[tuple[int, int]]], Iterable[HeldOutPredictions]] = map,
) -> HeldOutPredictions:
    """Predictions for the problems with a known winner, by rules fitted without the problem's (b, c).

    Args:
        measured: problems of one device in one metric.
        fit: makes the rule; called once for each (b, c).
        each: maps a function over the blocks, like `map`; may show progress or use several processes.
    """

    def predict_block(block: tuple[int, int]) -> HeldOutPredictions:
        rule = fit([problem for problem in measured if problem.block != block])
        tested = (problem for problem in with_known_winner(measured) if problem.block == block)
        return [(problem, rule(problem.problem)) for problem in tested]

    blocks = sorted({problem.block for problem in with_known_winner(measured)})
    return [pair for predictions in each(predict_block, blocks) for pair in predictions]
