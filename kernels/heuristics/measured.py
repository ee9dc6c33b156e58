"""What heuristics are fitted on and scored by: problems with what each implementation cost there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kernels.heuristics.heuristic import Prediction
from kernels.problem import Problem


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


def without_each_block(
    measured: Sequence[MeasuredProblem],
) -> Iterator[tuple[list[MeasuredProblem], list[MeasuredProblem]]]:
    """For every (b, c): all problems of other blocks, and those of this one."""
    for block in sorted({one.block for one in measured}):
        yield (
            [one for one in measured if one.block != block],
            [one for one in measured if one.block == block],
        )


def held_out(measured: Sequence[MeasuredProblem], fit: Fit) -> list[tuple[MeasuredProblem, Prediction]]:
    """What a rule says of each problem with a winner when nothing of its (b, c) took part in fitting it."""
    said = []
    for others, own in without_each_block(measured):
        asked = decided(own)
        if asked:
            rule = fit(others)
            said += [(one, rule(one.problem)) for one in asked]
    return said
