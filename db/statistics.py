"""Statistics that several folders need: pure functions of plain numbers, without numpy's start-up time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

Z_95 = 1.96
"""Standard deviations from the mean to either end of a normal distribution's central 95 %."""
MAD_TO_SIGMA = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""


def benjamini_hochberg(p_values: Sequence[float], rate: float) -> list[bool]:
    """Which findings are significant at a false-discovery rate (Benjamini and Hochberg, 1995).

    Of the significant ones at most the share `rate` is expected to be chance. A NaN is never significant
    and does not count as a test.
    """
    tested = sorted(value for value in p_values if value == value)
    passing = (value for rank, value in enumerate(tested, 1) if value <= rate * rank / len(tested))
    limit = max(passing, default=-1.0)
    return [value <= limit for value in p_values]


class PredictionResult(NamedTuple):
    """One prediction beside the measured speedup (best baseline over fused), with its interval if known."""

    predicts_fused: bool
    speedup: float
    low: float | None = None
    high: float | None = None

    @property
    def is_correct(self) -> bool:
        """Whether the prediction named the winner; a tie is the baseline's."""
        return self.predicts_fused == (self.speedup > 1)

    @property
    def regret(self) -> float:
        """Cost of following the prediction over the better choice, minus 1."""
        return 0.0 if self.is_correct else wrong_choice_cost(self.speedup)

    @property
    def win_variance(self) -> float:
        """Variance of "fused won" given the speedup's interval, normal in its logarithm; 0 to 1/4."""
        if self.low is None or self.high is None or not 0 < self.low < self.high:
            return 0.0
        sigma = math.log(self.high / self.low) / 2 / Z_95
        won = 0.5 * math.erfc(-math.log(self.speedup) / sigma / math.sqrt(2))
        return won * (1 - won)


def wrong_choice_cost(speedup: float) -> float:
    """Cost of the slower of fused and the best baseline over the faster one, minus 1."""
    return max(speedup, 1 / speedup) - 1


@dataclass(frozen=True)
class PredictionScore:
    """A heuristic's confusion matrix (positive = fused) and the figures that follow from it.

    A share is None without any problem; the balanced accuracy also where only one side ever won.
    """

    problems: int
    majority: float | None
    """Accuracy of always predicting the more frequent winner."""
    accuracy: float | None
    balanced_accuracy: float | None
    """Mean of the accuracies on fused's wins and on its losses."""
    tp: int
    fp: int
    fn: int
    tn: int
    regret: float | None
    """Mean over the problems."""

    @classmethod
    def of_counts(cls, tp: int, fp: int, fn: int, tn: int, total_regret: float) -> PredictionScore:
        """The score of a confusion matrix, with the sum of its problems' regrets."""
        won, lost = tp + fn, fp + tn
        problems = won + lost
        if not problems:
            return cls(0, None, None, None, tp, fp, fn, tn, None)
        return cls(
            problems=problems,
            majority=max(won, lost) / problems,
            accuracy=(tp + tn) / problems,
            balanced_accuracy=(tp / won + tn / lost) / 2 if won and lost else None,
            tp=tp,
            fp=fp,
            fn=fn,
            tn=tn,
            regret=total_regret / problems,
        )


def score_predictions(results: Sequence[PredictionResult]) -> PredictionScore:
    """The score of one heuristic over these problems."""
    tp = sum(one.predicts_fused and one.is_correct for one in results)
    fp = sum(one.predicts_fused and not one.is_correct for one in results)
    fn = sum(not one.predicts_fused and not one.is_correct for one in results)
    regrets = math.fsum(one.regret for one in results)
    return PredictionScore.of_counts(tp, fp, fn, len(results) - tp - fp - fn, regrets)


def accuracy_interval(results: Sequence[PredictionResult]) -> tuple[float | None, float | None]:
    """The 95 % interval of the accuracy if the same problems were measured again.

    Only problems near a tie can change sides.
    """
    accuracy = score_predictions(results).accuracy
    if accuracy is None:
        return None, None
    half_width = Z_95 * math.sqrt(sum(one.win_variance for one in results)) / len(results)
    return max(0.0, accuracy - half_width), min(1.0, accuracy + half_width)
