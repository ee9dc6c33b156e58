"""Verdicts on the speed of light: the floor over the latency of `fused`, its median and worst of a night.

Higher is better. It raises no alert of its own: a kernel that became slower has one, and the floor is made of
the canaries, whose changes are reported as those of the machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from kswatch.ci.config import CiConfig
from kswatch.ci.regression.history import JudgingInputs
from kswatch.ci.regression.threshold import (
    Floats,
    Points,
    SeriesLevel,
    ThresholdTest,
    apply_threshold,
    estimate_level,
)
from kswatch.ci.regression.verdicts import SeriesVerdict
from kswatch.db.queries.speed_of_light import SpeedOfLightRow, speed_of_light
from kswatch.db.queries.verdicts import TOO_LITTLE_HISTORY
from kswatch.db.records import FUSED
from kswatch.db.store import Store

SeriesKey = tuple[str, str, str]
"""Precision, layout and statistic."""


def judge_speed_of_light(
    store: Store, inputs: JudgingInputs, verdicts: Sequence[SeriesVerdict], config: CiConfig
) -> list[SpeedOfLightRow]:
    """Judge the speed of light of a run against the nights of its history, and store the verdicts."""
    newest = speed_of_light(store, inputs.run.id)
    if not newest:
        return []
    comparable = inputs.environment_before is None
    nights = [night.run_id for night in inputs.nights] if comparable else []
    past = _past(newest, nights, speed_of_light(store, nights) if nights else ())
    level = estimate_level(past, config)
    values = np.array([row.value for row in newest])
    unknown = np.full(len(newest), np.nan)
    higher = np.ones(len(newest), dtype=bool)
    test = apply_threshold(Points(values, unknown, unknown), level, higher, config)
    judged = [_judged(row, place, level, test, inputs, verdicts) for place, row in enumerate(newest)]
    store.record_speed_of_light_verdicts(judged)
    return judged


def _past(
    newest: Sequence[SpeedOfLightRow], nights: Sequence[int], earlier: Iterable[SpeedOfLightRow]
) -> Points:
    """`(series, nights)`; nights with another number of problems are left out."""
    row_of = {_key(row): place for place, row in enumerate(newest)}
    column_of: Mapping[int, int] = {run_id: place for place, run_id in enumerate(nights)}
    values: Floats = np.full((len(newest), len(nights)), np.nan)
    for row in earlier:
        place = row_of.get(_key(row))
        if place is not None and row.problems == newest[place].problems:
            values[place, column_of[row.run_id]] = row.value
    unknown = np.full_like(values, np.nan)
    return Points(values, unknown, unknown.copy())


def _key(row: SpeedOfLightRow) -> SeriesKey:
    return row.precision, row.layout, row.statistic


def _judged(
    row: SpeedOfLightRow,
    place: int,
    level: SeriesLevel,
    test: ThresholdTest,
    inputs: JudgingInputs,
    verdicts: Sequence[SeriesVerdict],
) -> SpeedOfLightRow:
    known = not test.too_little_history[place]
    word, runs = test.verdict(place), int(level.comparable_runs[place])
    return row._replace(
        verdict=word,
        cause=_cause(word, inputs, verdicts) if word in ("slower", "faster") else None,
        level=float(level.value[place]) if known else None,
        change=float(row.value / level.value[place] - 1) if known else None,
        comparable_runs=runs,
        reason=None if known else f"{TOO_LITTLE_HISTORY}: {runs} comparable runs",
    )


def _cause(word: str, inputs: JudgingInputs, verdicts: Sequence[SeriesVerdict]) -> str | None:
    """The machine where a canary moved, else the commonest cause of the latencies that moved alike."""
    if inputs.canary_change is not None:
        return "canary"
    causes = (
        one.cause
        for one in verdicts
        if (one.implementation, one.metric, one.verdict) == (FUSED, "latency_ms", word)
    )
    return next((cause for cause, _ in Counter(causes).most_common(1)), None)
