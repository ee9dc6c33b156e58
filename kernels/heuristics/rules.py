"""One-line rules over the pattern.

Thresholds were recomputed from the published V100 energy measurements of Gonon et al. (ICML 2025):
the paper ranks by h = (b+c)/(bc) and d·h but states no threshold. They are fractions, compared
exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from kswatch.kernels.heuristics.base import DeviceFacts, Heuristic, Prediction
from kswatch.kernels.heuristics.measured import MeasuredProblem, Rule, with_known_winner
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
"""The value that a threshold rule compares with its limit; fused is predicted from the limit on."""


def _rule(name: str, statement: str, predicts_fused: Callable[[Pattern], bool]) -> Heuristic:
    def predict_all(problems: Sequence[Problem], facts: DeviceFacts) -> list[Prediction]:
        del facts
        return [Prediction(predicts_fused(problem.pattern)) for problem in problems]

    return Heuristic(name, 1, statement, predict_all)


def _threshold(name: str, statement: str, limit: Fraction) -> Heuristic:
    return _rule(name, statement, lambda pattern: RANKINGS[name](pattern) >= limit)


MAJORITY = _rule("majority", "always fused", lambda pattern: True)
PERMUTATION = _rule("permutation", "fused where d > 1", lambda pattern: pattern.d > 1)
H_THRESHOLD = _threshold("h_threshold", f"fused where h >= {H_LIMIT}", H_LIMIT)
DH_THRESHOLD = _threshold("dh_threshold", f"fused where d·h >= {DH_LIMIT}", DH_LIMIT)
GATED_H = _threshold("gated_h", f"fused where d > 1 and h >= {GATED_H_LIMIT}", GATED_H_LIMIT)


def fit_limit(measured: Sequence[MeasuredProblem], ranking: Callable[[Pattern], Fraction]) -> Fraction | None:
    """The limit with the most correct predictions, the smallest of equals; None where never fused is best.

    Only values that occur can be limits, so a limit is an exact fraction.
    """
    ranked = [
        (ranking(item.problem.pattern), (item.speedup or 0.0) > 1) for item in with_known_winner(measured)
    ]
    wins_at: dict[Fraction, list[int]] = {}
    for value, won in ranked:
        wins_at.setdefault(value, [0, 0])[won] += 1
    correct, best_limit = sum(not won for _, won in ranked), None  # no limit: never fused
    most_correct = correct
    for value in sorted(wins_at, reverse=True):
        losses, wins = wins_at[value]
        correct += wins - losses
        if correct >= most_correct:
            most_correct, best_limit = correct, value
    return best_limit


def fit_threshold(name: str, measured: Sequence[MeasuredProblem]) -> Rule:
    """The rule of one of `RANKINGS` with the fitted limit."""
    ranking = RANKINGS[name]
    limit = fit_limit(measured, ranking)
    return lambda problem: Prediction(limit is not None and ranking(problem.pattern) >= limit)


def fit_majority(measured: Sequence[MeasuredProblem]) -> Rule:
    """A rule that predicts the most frequent winner for every problem."""
    wins = [(item.speedup or 0.0) > 1 for item in with_known_winner(measured)]
    prediction = Prediction(2 * sum(wins) > len(wins))
    return lambda problem: prediction
