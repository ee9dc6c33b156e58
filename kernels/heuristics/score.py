"""How well a heuristic did: accuracy never without majority, balance and regret beside it."""

from __future__ import annotations

from collections.abc import Sequence
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
