"""One-line rules over the pattern.

Thresholds were recomputed from the published V100 energy measurements of Gonon et al. (ICML 2025):
the paper ranks by h = (b+c)/(bc) and d·h but states no threshold. They are fractions, compared
exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from kswatch.kernels.heuristics.base import DeviceFacts, Heuristic, Prediction
from kswatch.kernels.heuristics.measured import MeasuredProblem, Rule, decided
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem

H_LIMIT = Fraction(1, 192)
DH_LIMIT = Fraction(5, 128)
GATED_H_LIMIT = Fraction(1, 384)

RANKINGS: dict[str, Callable[[Pattern], Fraction]] = {
    "h_threshold": lambda pattern: pattern.h,
    "dh_threshold": lambda pattern: pattern.d * pattern.h,
    "gated_h": lambda pattern: pattern.h if pattern.d > 1 else Fraction(0),
}
"""What a threshold rule compares with its limit: fused from there on."""


def _rule(name: str, statement: str, says_fused: Callable[[Pattern], bool]) -> Heuristic:
    def predict(problem: Problem, facts: DeviceFacts) -> Prediction:
        del facts
        return Prediction(predicts_fused=says_fused(problem.pattern))

    return Heuristic(name, 1, statement, predict)


def _threshold(name: str, statement: str, limit: Fraction) -> Heuristic:
    return _rule(name, statement, lambda pattern: RANKINGS[name](pattern) >= limit)


MAJORITY = _rule("majority", "always fused", lambda pattern: True)
PERMUTATION = _rule("permutation", "fused where d > 1", lambda pattern: pattern.d > 1)
H_THRESHOLD = _threshold("h_threshold", f"fused where h >= {H_LIMIT}", H_LIMIT)
DH_THRESHOLD = _threshold("dh_threshold", f"fused where d·h >= {DH_LIMIT}", DH_LIMIT)
GATED_H = _threshold("gated_h", f"fused where d > 1 and h >= {GATED_H_LIMIT}", GATED_H_LIMIT)


def fit_limit(measured: Sequence[MeasuredProblem], ranking: Callable[[Pattern], Fraction]) -> Fraction | None:
    """The limit that is right most often, the smallest of equals; None where never fused is right most often.

    Only values that occur can be limits, so that a limit is an exact fraction.
    """
    ranked = [(ranking(one.problem.pattern), (one.speedup or 0.0) > 1) for one in decided(measured)]
    wins_at: dict[Fraction, list[int]] = {}
    for value, won in ranked:
        wins_at.setdefault(value, [0, 0])[won] += 1
    right, best = sum(not won for _, won in ranked), None  # no limit: never fused
    most = right
    for value in sorted(wins_at, reverse=True):
        losses, wins = wins_at[value]
        right += wins - losses
        if right >= most:
            most, best = right, value
    return best


def fit_threshold(name: str) -> Callable[[Sequence[MeasuredProblem]], Rule]:
    """Fits the limit of one of `RANKINGS`."""
    ranking = RANKINGS[name]

    def fit(measured: Sequence[MeasuredProblem]) -> Rule:
        limit = fit_limit(measured, ranking)
        return lambda problem: Prediction(limit is not None and ranking(problem.pattern) >= limit)

    return fit


def fit_majority(measured: Sequence[MeasuredProblem]) -> Rule:
    """Answers for every problem what was right most often."""
    wins = [(one.speedup or 0.0) > 1 for one in decided(measured)]
    said = Prediction(2 * sum(wins) > len(wins))
    return lambda problem: said
