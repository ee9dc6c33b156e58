"""How well each heuristic did in a run, made once from its predictions and comparisons."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from kswatch.db.backend.bulk_insert import insert_rows
from kswatch.db.schema.tables import Comparison, HeuristicScore, Prediction, Problem

HALF_WIDTH_IN_SIGMAS = 1.96
"""Half of a 95 % interval."""
KEYS = ("heuristic", "version", "metric", "precision", "layout")


class Said(NamedTuple):
    """One prediction beside what happened: the best baseline over fused, with its interval where known."""

    predicts_fused: bool
    speedup: float
    low: float | None = None
    high: float | None = None

    @property
    def right(self) -> bool:
        """Whether it named the winner; a tie is the baseline's."""
        return self.predicts_fused == (self.speedup > 1)

    @property
    def regret(self) -> float:
        """Cost of following it over the better choice, minus 1."""
        return 0.0 if self.right else max(self.speedup, 1 / self.speedup) - 1

    @property
    def doubt(self) -> float:
        """Variance of "fused won" given the interval of the speedup, normal in its logarithm; 0 to 1/4."""
        if self.low is None or self.high is None or not 0 < self.low < self.high:
            return 0.0
        sigma = math.log(self.high / self.low) / 2 / HALF_WIDTH_IN_SIGMAS
        won = 0.5 * math.erfc(-math.log(self.speedup) / sigma / math.sqrt(2))
        return won * (1 - won)


@dataclass(frozen=True)
class RunScore:
    """A heuristic's figures over problems; shares are None where nothing can be said."""

    problems: int
    majority: float | None
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    balanced_accuracy: float | None
    tp: int
    fp: int
    fn: int
    tn: int
    regret: float | None


def score(said: Sequence[Said]) -> RunScore:
    """The confusion matrix (positive = fused) and what follows from it.

    The interval of the accuracy is that of measuring the same problems again: only those near a tie
    can change sides.
    """
    tp = sum(one.predicts_fused and one.right for one in said)
    fp = sum(one.predicts_fused and not one.right for one in said)
    fn = sum(not one.predicts_fused and not one.right for one in said)
    problems, won = len(said), tp + fn
    tn = problems - won - fp
    if not problems:
        return RunScore(0, None, None, None, None, None, tp, fp, fn, tn, None)
    accuracy = (tp + tn) / problems
    reach = HALF_WIDTH_IN_SIGMAS * math.sqrt(sum(one.doubt for one in said)) / problems
    lost = problems - won
    return RunScore(
        problems=problems,
        majority=max(won, lost) / problems,
        accuracy=accuracy,
        accuracy_low=max(0.0, accuracy - reach),
        accuracy_high=min(1.0, accuracy + reach),
        balanced_accuracy=(tp / won + tn / lost) / 2 if won and lost else None,
        tp=tp,
        fp=fp,
        fn=fn,
        tn=tn,
        regret=math.fsum(one.regret for one in said) / problems,
    )


def write(session: Session, run_id: int) -> None:
    """Write the scores of a run's predictions anew, in the caller's transaction."""
    keys = (
        Prediction.heuristic,
        Prediction.version,
        Comparison.metric,
        Problem.precision,
        Problem.layout,
    )
    happened = (Comparison.speedup, Comparison.speedup_low, Comparison.speedup_high)
    query = (
        select(*keys, Prediction.predicts_fused, *happened)
        .join(Comparison, (Comparison.run_id == run_id) & (Comparison.problem_id == Prediction.problem_id))
        .join(Problem, Problem.id == Prediction.problem_id)
        .where(Prediction.run_id == run_id, Comparison.baselines == "all", Comparison.speedup.is_not(None))
    )
    groups: dict[tuple[Any, ...], list[Said]] = defaultdict(list)
    for row in session.execute(query):
        values: tuple[Any, ...] = tuple(row)
        groups[values[: len(keys)]].append(Said(*values[len(keys) :]))
    session.execute(delete(HeuristicScore).where(HeuristicScore.run_id == run_id))
    rows = [
        {"run_id": run_id} | dict(zip(KEYS, key, strict=True)) | asdict(score(said))
        for key, said in groups.items()
    ]
    insert_rows(session, HeuristicScore, rows, replace=True)
