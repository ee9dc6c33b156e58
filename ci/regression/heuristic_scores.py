"""Verdicts on heuristics: the accuracy and regret of the newest night against comparable nights.

Higher accuracy is better. Regret is judged as 1 + regret, the cost of the rule over that of the best
choice, so that the floor and the noise unit of the threshold test mean the same as for a latency.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from kswatch.ci.config import CiConfig
from kswatch.ci.regression.threshold import (
    Points,
    SeriesLevel,
    ThresholdTest,
    apply_threshold,
    estimate_level,
)
from kswatch.db.queries.basic import ScorePoint
from kswatch.db.queries.runs import RunRow
from kswatch.db.queries.verdicts import TOO_LITTLE_HISTORY
from kswatch.db.records import HeuristicVerdictRecord

Score = Literal["accuracy", "regret"]
OFFSET: dict[Score, float] = {"accuracy": 0.0, "regret": 1.0}
"""Added for the test, subtracted from the reported values."""
MAX_NEAR_TIES = 1.5
"""Problems whose winner may change on either night without making the accuracy's intervals separate."""


class ScoreKey(NamedTuple):
    """The identity of a series of scores."""

    heuristic: str
    version: int
    metric: str
    precision: str
    layout: str
    score: Score


@dataclass(frozen=True)
class ScoreHistory:
    """The history of a night's scores."""

    scores: Sequence[ScorePoint]
    """The scores of earlier comparable runs, the oldest first."""
    verdicts: Sequence[HeuristicVerdictRecord]
    """The verdicts that moved on those runs."""
    accepted: Collection[int]
    """Alerts whose level was accepted; the history of their series starts there."""


def judge_scores(
    run: RunRow, scores: Iterable[ScorePoint], history: ScoreHistory, config: CiConfig
) -> list[HeuristicVerdictRecord]:
    """Verdicts on the accuracy and the regret of every heuristic scored in the run."""
    newest = {key: values for one in scores for key, values in _points(one).items()}
    if not newest:
        return []
    nights = sorted({one.run_id for one in history.scores})
    level = estimate_level(_past(list(newest), nights, history), config)
    higher = np.array([key.score == "accuracy" for key in newest])
    test = apply_threshold(Points(*np.array(list(newest.values()), dtype=float).T), level, higher, config)
    return [_verdict(run.id, key, row, newest[key][0], level, test) for row, key in enumerate(newest)]


def _points(one: ScorePoint) -> dict[ScoreKey, tuple[float, float, float]]:
    """The points of accuracy and regret, with their intervals where known."""
    about = (one.heuristic, one.version, one.metric, one.precision, one.layout)
    points: dict[ScoreKey, tuple[float, float, float]] = {}
    if one.accuracy is not None:
        least, most = one.accuracy - MAX_NEAR_TIES / one.problems, one.accuracy + MAX_NEAR_TIES / one.problems
        low, high = one.accuracy_low or least, one.accuracy_high or most
        points[ScoreKey(*about, "accuracy")] = (one.accuracy, min(low, least), max(high, most))
    if one.regret is not None:
        points[ScoreKey(*about, "regret")] = (one.regret + OFFSET["regret"], np.nan, np.nan)
    return points


def _past(keys: Sequence[ScoreKey], nights: Sequence[int], history: ScoreHistory) -> Points:
    """`(series, nights)`, without nights of an alert and nights before an accepted level."""
    values = np.full((3, len(keys), len(nights)), np.nan)
    row_of, column_of = {key: row for row, key in enumerate(keys)}, {run: n for n, run in enumerate(nights)}
    for one in history.scores:
        for key, point in _points(one).items():
            if key in row_of and one.run_id in column_of:
                values[:, row_of[key], column_of[one.run_id]] = point
    started: set[tuple[ScoreKey, int]] = set()
    for verdict in history.verdicts:
        key = score_key(verdict)
        if verdict.alert_id is None or key not in row_of or verdict.run_id not in column_of:
            continue
        row, column = row_of[key], column_of[verdict.run_id]
        if verdict.alert_id not in history.accepted:
            values[:, row, column] = np.nan
        elif (key, verdict.alert_id) not in started:
            values[:, row, :column] = np.nan
            started.add((key, verdict.alert_id))
    return Points(*values)


def _verdict(
    run_id: int, key: ScoreKey, row: int, point: float, level: SeriesLevel, test: ThresholdTest
) -> HeuristicVerdictRecord:
    offset = OFFSET[key.score]
    known = not test.too_little_history[row]
    at = float(level.value[row]) if known else None
    word = test.verdict(row)
    return HeuristicVerdictRecord(
        run_id=run_id,
        **key._asdict(),
        verdict=word,
        value=point - offset,
        level=None if at is None else at - offset,
        change=None if at is None else point - at,
        change_low=None if at is None else float(test.change_low[row]) * at,
        change_high=None if at is None else float(test.change_high[row]) * at,
        comparable_runs=int(level.comparable_runs[row]),
        reason=_reason(word, key.score, known, int(level.comparable_runs[row])),
        alert_id=None,
    )


def _reason(word: str, score: str, known: bool, runs: int) -> str | None:
    if not known:
        return f"{TOO_LITTLE_HISTORY}: {runs} comparable runs"
    if word == "same":
        return None
    if word == "ambiguous":
        return f"{score} changed, but problems near a tie can cause that"
    return f"{score} got {'worse' if word == 'slower' else 'better'} than in {runs} comparable runs"


def score_key(verdict: HeuristicVerdictRecord) -> ScoreKey:
    """The identity of the judged series."""
    return ScoreKey(*(getattr(verdict, name) for name in ScoreKey._fields))
