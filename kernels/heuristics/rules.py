"""One-line rules over the pattern.

Thresholds were recomputed from the published V100 energy measurements of Gonon et al. (ICML 2025):
the paper ranks by h = (b+c)/(bc) and d·h but states no threshold. They are fractions, compared
exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from kernels.heuristics.heuristic import DeviceFacts, Heuristic, Prediction
from kernels.pattern import Pattern
from kernels.problem import Problem

H_LIMIT = Fraction(1, 192)
DH_LIMIT = Fraction(5, 128)
GATED_H_LIMIT = Fraction(1, 384)


def _rule(name: str, statement: str, says_fused: Callable[[Pattern], bool]) -> Heuristic:
    def predict(problem: Problem, facts: DeviceFacts) -> Prediction:
        del facts
        return Prediction(predicts_fused=says_fused(problem.pattern))

    return Heuristic(name, 1, statement, predict)


MAJORITY = _rule("majority", "always fused", lambda pattern: True)
PERMUTATION = _rule("permutation", "fused where d > 1", lambda pattern: pattern.d > 1)
H_THRESHOLD = _rule("h_threshold", f"fused where h >= {H_LIMIT}", lambda pattern: pattern.h >= H_LIMIT)
DH_THRESHOLD = _rule(
    "dh_threshold", f"fused where d·h >= {DH_LIMIT}", lambda pattern: pattern.d * pattern.h >= DH_LIMIT
)
GATED_H = _rule(
    "gated_h",
    f"fused where d > 1 and h >= {GATED_H_LIMIT}",
    lambda pattern: pattern.d > 1 and pattern.h >= GATED_H_LIMIT,
)
