"""Rules that predict the winner from the problem and device facts alone; no torch, no store.

An extension is one file and one line in `HEURISTICS`.
"""

from kswatch.kernels.heuristics.base import Heuristic, Prediction
from kswatch.kernels.heuristics.learned import COST_MODEL, LEARNED
from kswatch.kernels.heuristics.rules import DH_THRESHOLD, GATED_H, H_THRESHOLD, MAJORITY, PERMUTATION

HEURISTICS: tuple[Heuristic, ...] = (
    MAJORITY,
    PERMUTATION,
    H_THRESHOLD,
    DH_THRESHOLD,
    GATED_H,
    COST_MODEL,
    LEARNED,
)

__all__ = ["HEURISTICS", "Heuristic", "Prediction"]
