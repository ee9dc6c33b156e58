"""Heuristics' accuracy and regret, judged like any other series: the newest night against comparable ones.

Accuracy is better when higher. Regret is judged as the cost of following the rule over the best choice,
1 + regret, so that the floor and the noise unit of `kswatch.ci.regression.threshold` mean the same as for a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from kswatch.ci.config import CiConfig
from kswatch.ci.regression.threshold import Level, Points, Ruling, level_of, rule
from kswatch.db.queries.basic import ScorePoint
from kswatch.db.queries.runs import RunRow
from kswatch.db.records import HeuristicVerdictRecord

Score = Literal["accuracy", "regret"]
SCORES: tuple[Score, ...] = ("accuracy", "regret")
OFFSET: dict[Score, float] = {"accuracy": 0.0, "regret": 1.0}
"""Added before judging, taken away from what is told."""
A_FEW = 1.5
"""So many problems may change sides on either night without anything being said of it."""


class SeriesKey(NamedTuple):
    """What stays the same along a series of scores."""

    heuristic: str
    version: int
    metric: str
    precision: str
    layout: str
    score: Score


@dataclass(frozen=True)
class History:
    """What a night's scores may be held against."""

    scores: Sequence[ScorePoint]
    """Of comparable runs before it, the oldest first."""
    verdicts: Sequence[HeuristicVerdictRecord]
    """That moved, on those runs."""
    accepted: Collection[int]
    """Alerts whose level was accepted: history begins with them."""


def judge_scores(
    run: RunRow, scores: Iterable[ScorePoint], history: History, config: CiConfig
) -> list[HeuristicVerdictRecord]:
    """A verdict on the accuracy and the regret of every heuristic that the run was scored with."""
    newest = {key: values for one in scores for key, values in _points(one).items()}
    if not newest:
        return []
    nights = sorted({one.run_id for one in history.scores})
    level = level_of(_past(list(newest), nights, history), config)
    higher = np.array([key.score == "accuracy" for key in newest])
    ruling = rule(Points(*np.array(list(newest.values()), dtype=float).T), level, higher, config)
    return [_verdict(run.id, key, row, newest[key][0], level, ruling) for row, key in enumerate(newest)]


def _points(one: ScorePoint) -> dict[SeriesKey, tuple[float, float, float]]:
    """The two points of a score, with their intervals where known."""
    about = (one.heuristic, one.version, one.metric, one.precision, one.layout)
    points: dict[SeriesKey, tuple[float, float, float]] = {}
    if one.accuracy is not None:
        least, most = one.accuracy - A_FEW / one.problems, one.accuracy + A_FEW / one.problems
        low, high = one.accuracy_low or least, one.accuracy_high or most
        points[SeriesKey(*about, "accuracy")] = (one.accuracy, min(low, least), max(high, most))
    if one.regret is not None:
        points[SeriesKey(*about, "regret")] = (one.regret + OFFSET["regret"], np.nan, np.nan)
    return points


def _past(keys: Sequence[SeriesKey], nights: Sequence[int], history: History) -> Points:
    """`(series, nights)`; nights of an alert are left out, and what came before an accepted level."""
    values = np.full((3, len(keys), len(nights)), np.nan)
    row_of, column_of = {key: row for row, key in enumerate(keys)}, {run: n for n, run in enumerate(nights)}
    for one in history.scores:
        for key, point in _points(one).items():
            if key in row_of and one.run_id in column_of:
                values[:, row_of[key], column_of[one.run_id]] = point
    begun: set[tuple[SeriesKey, int]] = set()
    for told in history.verdicts:
        key = series_key(told)
        if told.alert_id is None or key not in row_of or told.run_id not in column_of:
            continue
        row, column = row_of[key], column_of[told.run_id]
        if told.alert_id not in history.accepted:
            values[:, row, column] = np.nan
        elif (key, told.alert_id) not in begun:
            values[:, row, :column] = np.nan
            begun.add((key, told.alert_id))
    return Points(*values)


def _verdict(
    run_id: int, key: SeriesKey, row: int, point: float, level: Level, ruling: Ruling
) -> HeuristicVerdictRecord:
    offset = OFFSET[key.score]
    known = not ruling.too_little_history[row]
    at = float(level.value[row]) if known else None
    word = _word(row, ruling)
    return HeuristicVerdictRecord(
        run_id=run_id,
        **key._asdict(),
        verdict=word,
        value=point - offset,
        level=None if at is None else at - offset,
        change=None if at is None else point - at,
        change_low=None if at is None else float(ruling.change_low[row]) * at,
        change_high=None if at is None else float(ruling.change_high[row]) * at,
        comparable_runs=int(level.comparable_runs[row]),
        reason=_reason(word, key.score, known, int(level.comparable_runs[row])),
        alert_id=None,
    )


def _word(row: int, ruling: Ruling) -> Literal["slower", "faster", "ambiguous", "same"]:
    if ruling.slower[row]:
        return "slower"
    if ruling.faster[row]:
        return "faster"
    return "ambiguous" if ruling.ambiguous[row] else "same"


def _reason(word: str, score: str, known: bool, runs: int) -> str | None:
    if not known:
        return f"too little history: {runs} comparable runs"
    if word == "same":
        return None
    if word == "ambiguous":
        return f"{score} moved, but problems near a tie could have done that"
    return f"{score} got {'worse' if word == 'slower' else 'better'} than in {runs} comparable runs"


def series_key(told: HeuristicVerdictRecord) -> SeriesKey:
    """What stays the same along the series that was judged."""
    return SeriesKey(*(getattr(told, name) for name in SeriesKey._fields))


def seen_before(verdicts: Iterable[HeuristicVerdictRecord], night: int) -> set[SeriesKey]:
    """Series that had got worse on that night already."""
    worse: dict[int, set[SeriesKey]] = defaultdict(set)
    for one in verdicts:
        if one.verdict == "slower":
            worse[one.run_id].add(series_key(one))
    return worse[night]
