"""What heuristics are fitted on and scored by: problems with what each implementation cost there."""

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
    """Latency in ms or energy in mJ by implementation; those without a good measurement are absent."""
    speedup: float | None
    """Best baseline over fused; None where a baseline is missing, so that there is no winner to predict."""

    @property
    def block(self) -> tuple[int, int]:
        """(b, c): problems that share it are held out together."""
        return self.problem.pattern.b, self.problem.pattern.c


Rule = Callable[[Problem], Prediction]
Fit = Callable[[Sequence[MeasuredProblem]], Rule]
"""Makes a rule from measured problems of one device."""


def decided(measured: Sequence[MeasuredProblem]) -> list[MeasuredProblem]:
    """Those with a winner."""
    return [one for one in measured if one.speedup is not None]


Said = list[tuple[MeasuredProblem, Prediction]]
OfBlock = Callable[[tuple[int, int]], Said]


def held_out(
    measured: Sequence[MeasuredProblem],
    fit: Fit,
    each: Callable[[OfBlock, Sequence[tuple[int, int]]], Iterable[Said]] = map,
) -> Said:
    """What a rule says of each problem with a winner when nothing of its (b, c) took part in fitting it.

    Args:
        measured: problems of one device in one metric.
        fit: makes the rule; called once for each (b, c).
        each: does something with every block, as `map`; may show how far it is, or use all cores.
    """

    def of_block(block: tuple[int, int]) -> Said:
        rule = fit([one for one in measured if one.block != block])
        return [(one, rule(one.problem)) for one in decided(measured) if one.block == block]

    blocks = sorted({one.block for one in decided(measured)})
    return [one for said in each(of_block, blocks) for one in said]
