"""The one explicit list of heuristics. A new one is a file and a line here."""

from kswatch.kernels.heuristics.base import Heuristic
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
