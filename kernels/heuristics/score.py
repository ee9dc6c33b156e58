"""How well a heuristic did: accuracy never without majority, balance and regret beside it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """What was predicted for one problem and what happened."""

    predicts_fused: bool
    speedup: float
    """Best baseline over fused, measured; > 1 means that fused won."""

    @property
    def fused_won(self) -> bool:
        """A strict win of fused."""
        return self.speedup > 1

    @property
    def regret(self) -> float:
        """Cost of following the rule over the best choice, minus 1; 0 where the rule was right."""
        if self.predicts_fused == self.fused_won:
            return 0.0
        return max(self.speedup, 1 / self.speedup) - 1


@dataclass(frozen=True)
class Score:
    """The figures of one heuristic over a set of problems; None where a class is empty."""

    problems: int
    majority: float | None
    accuracy: float | None
    balanced_accuracy: float | None
    tp: int
    fp: int
    fn: int
    tn: int
    regret: float | None
    """Mean over the problems."""


def score(outcomes: Sequence[Outcome]) -> Score:
    """The confusion matrix (positive = fused) and what follows from it."""
    tp = sum(o.predicts_fused and o.fused_won for o in outcomes)
    fp = sum(o.predicts_fused and not o.fused_won for o in outcomes)
    fn = sum(not o.predicts_fused and o.fused_won for o in outcomes)
    tn = len(outcomes) - tp - fp - fn
    if not outcomes:
        return Score(0, None, None, None, tp, fp, fn, tn, None)
    both_seen = tp + fn > 0 and tn + fp > 0
    return Score(
        problems=len(outcomes),
        majority=max(tp + fn, tn + fp) / len(outcomes),
        accuracy=(tp + tn) / len(outcomes),
        balanced_accuracy=(tp / (tp + fn) + tn / (tn + fp)) / 2 if both_seen else None,
        tp=tp,
        fp=fp,
        fn=fn,
        tn=tn,
        regret=sum(outcome.regret for outcome in outcomes) / len(outcomes),
    )


@dataclass(frozen=True)
class CalibrationBin:
    """Predictions of about the same confidence."""

    problems: int
    confidence: float
    """Their mean."""
    accuracy: float
    """The share of them that was right."""


CONFIDENCE_EDGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)


def calibration(said: Sequence[tuple[float, bool]]) -> list[CalibrationBin]:
    """How often predictions were right, by how sure they were; from (confidence, was right)."""
    bins = []
    for number, upper in enumerate(CONFIDENCE_EDGES[1:]):
        lower = CONFIDENCE_EDGES[number]
        inside = [one for one in said if lower <= one[0] < upper or (upper == 1.0 and one[0] >= 1.0)]
        if inside:
            confidences, rights = zip(*inside, strict=True)
            bins.append(CalibrationBin(len(inside), statistics.fmean(confidences), statistics.fmean(rights)))
    return bins


def calibration_error(bins: Sequence[CalibrationBin]) -> float | None:
    """Mean of |confidence - accuracy| over the predictions, in bins; None without any."""
    problems = sum(one.problems for one in bins)
    if not problems:
        return None
    return sum(one.problems * abs(one.confidence - one.accuracy) for one in bins) / problems


@dataclass(frozen=True)
class CostError:
    """How well the cost of one implementation was predicted."""

    problems: int
    r2_log: float | None
    """Share of the variance of log(cost) that was predicted; None where the costs do not vary."""
    median_error: float
    """Median of |predicted / measured - 1|."""


def cost_errors(said: Sequence[tuple[Mapping[str, float], Mapping[str, float]]]) -> dict[str, CostError]:
    """By implementation, from (predicted, measured) costs of each problem."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    for predicted, measured in said:
        for name in predicted.keys() & measured.keys():
            pairs.setdefault(name, []).append((predicted[name], measured[name]))
    return {name: _cost_error(pairs[name]) for name in sorted(pairs)}


def _cost_error(pairs: Sequence[tuple[float, float]]) -> CostError:
    logs = [math.log(measured) for _, measured in pairs]
    mean = statistics.fmean(logs)
    left = sum(math.log(predicted / measured) ** 2 for predicted, measured in pairs)
    all_of_it = sum((value - mean) ** 2 for value in logs)
    return CostError(
        problems=len(pairs),
        r2_log=1 - left / all_of_it if all_of_it else None,
        median_error=median_error(pairs) or 0.0,
    )


def median_error(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Median of |predicted / measured - 1|; None without any."""
    if not pairs:
        return None
    return statistics.median(abs(predicted / measured - 1) for predicted, measured in pairs)
