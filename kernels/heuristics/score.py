"""Scores of a heuristic's confidences and predicted costs against measurements."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class CalibrationBin:
    """Predictions with similar confidence."""

    problems: int
    confidence: float
    """Mean confidence of the predictions."""
    accuracy: float
    """Share of correct predictions."""


CONFIDENCE_EDGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)


def calibration(predictions: Sequence[tuple[float, bool]]) -> list[CalibrationBin]:
    """Accuracy by confidence, from (confidence, whether correct) of each prediction; empty bins left out."""
    bins = []
    for lower, upper in pairwise(CONFIDENCE_EDGES):
        inside = [
            pair for pair in predictions if lower <= pair[0] < upper or (upper == 1.0 and pair[0] >= 1.0)
        ]
        if inside:
            confidences, correct = zip(*inside, strict=True)
            bins.append(CalibrationBin(len(inside), statistics.fmean(confidences), statistics.fmean(correct)))
    return bins


def calibration_error(bins: Sequence[CalibrationBin]) -> float | None:
    """Mean of |confidence - accuracy| over the bins, weighted by problems; None without problems."""
    problems = sum(group.problems for group in bins)
    if not problems:
        return None
    return sum(group.problems * abs(group.confidence - group.accuracy) for group in bins) / problems


@dataclass(frozen=True)
class CostError:
    """The prediction error of one implementation's cost."""

    problems: int
    r2_log: float | None
    """Explained share of the variance of log(cost); None where the costs do not vary."""
    median_error: float
    """Median of |predicted / measured - 1|."""


def cost_errors(costs: Sequence[tuple[Mapping[str, float], Mapping[str, float]]]) -> dict[str, CostError]:
    """The error of each implementation, from (predicted, measured) costs of each problem."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    for predicted, measured in costs:
        for name in predicted.keys() & measured.keys():
            pairs.setdefault(name, []).append((predicted[name], measured[name]))
    return {name: _cost_error(pairs[name]) for name in sorted(pairs)}


def _cost_error(pairs: Sequence[tuple[float, float]]) -> CostError:
    residual = sum(math.log(predicted / measured) ** 2 for predicted, measured in pairs)
    total = len(pairs) * statistics.pvariance([math.log(measured) for _, measured in pairs])
    r2_log = 1 - residual / total if total else None
    return CostError(len(pairs), r2_log, median_error(pairs) or 0.0)


def median_error(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Median of |predicted / measured - 1|; None without any."""
    if not pairs:
        return None
    return statistics.median(abs(predicted / measured - 1) for predicted, measured in pairs)
