"""The levels of one problem's series, as its charts draw them."""

from __future__ import annotations

from bisect import bisect_left

import pandas as pd

from kswatch.dashboard.components.filters import Scope
from kswatch.dashboard.data import queries as cached_queries
from kswatch.db.queries.basic import RunRow
from kswatch.db.records import ALL, EXPERT, ProblemKey

RATIO_SERIES = {ALL: "speedup", EXPERT: "speedup_expert"}
"""The judged series of a ratio by its set of baselines; others have no levels."""
COMMIT_LENGTH = 12
COLUMNS = (
    *("implementation", "metric", "run_id", "first_at", "last_at"),
    *("median", "median_low", "median_high", "change", "commits"),
)


def levels_of(scope: Scope, problem: ProblemKey) -> pd.DataFrame:
    """One row for each level of the problem's series in these nights, as `pattern_history` draws it."""
    metrics = ("latency_ms", "energy_mj", RATIO_SERIES.get(scope.baselines, ""))
    stored = cached_queries.problem_levels(scope.device.id, problem, metrics)
    if scope.source.name == "ad_hoc":  # levels are those of nights
        stored = stored[:0]
    rows = []
    for _, levels in stored.groupby(["implementation", "metric"], sort=False):
        rows += _rows(levels, scope.runs)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(levels: pd.DataFrame, runs: tuple[RunRow, ...]) -> list[dict[str, object]]:
    """The levels of one series, the oldest first, cut to these runs."""
    run_ids = [run.id for run in runs]
    begins = [bisect_left(run_ids, int(first)) for first in levels["first_run_id"]]
    rows = []
    before = None
    for level, begin, end in zip(levels.itertuples(), begins, [*begins[1:], len(runs)], strict=True):
        is_inside = before is not None and begin > 0
        if end > begin:
            rows.append(
                {
                    "implementation": level.implementation,
                    "metric": level.metric,
                    "run_id": runs[begin].id,
                    "first_at": runs[begin].started_at,
                    "last_at": runs[end - 1].started_at,
                    "median": level.median,
                    "median_low": level.median_low,
                    "median_high": level.median_high,
                    "change": level.median / before - 1 if before and is_inside else None,
                    "commits": _commits(runs[begin - 1], runs[begin]) if is_inside else "",
                }
            )
        before = level.median
    return rows


def _commits(last_good: RunRow, first_bad: RunRow) -> str:
    both = (
        run.revision.commit[:COMMIT_LENGTH] if run.revision else "unknown" for run in (last_good, first_bad)
    )
    return "..".join(both)
