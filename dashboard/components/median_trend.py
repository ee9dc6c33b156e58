"""The trend of a median ratio over the nights, with annotations of events."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pandas as pd

from kswatch.dashboard.charts import trend
from kswatch.dashboard.charts.trend import Annotation
from kswatch.dashboard.components import links
from kswatch.dashboard.components.filters import Scope
from kswatch.dashboard.components.panels import chart, finding
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.baseline_history import baseline_changes, runs_since_change
from kswatch.dashboard.formatting.labels import are_comparable, change_list, ratio, revision_label
from kswatch.db.queries.basic import RunRow


def show_median_trend(scope: Scope, metric: str, name: str) -> None:
    """Draw the chart of a metric and its title; `name` is that of the ratio, as `speedup`."""
    frame = cached_queries.summaries(scope.run_ids, metric=metric, **scope.about)
    sets = cached_queries.run_sets(scope.run_ids)
    since = runs_since_change(sets, scope.run_ids, scope.baselines)
    changed = [run_id for run_id, _ in baseline_changes(sets, scope.run_ids, scope.baselines)]
    finding(trend_title(frame[frame["run_id"].isin(since)], name))
    chart(
        trend.median_trend(with_gaps(frame, changed), f"median {name} (×)", _annotations(scope)),
        frame,
        f"{name.replace(' ', '_')}_trend",
        f"Median {name} by night with the IQR of the problems.",
        on_open=links.open_run,
    )


def with_gaps(frame: pd.DataFrame, run_ids: Sequence[int]) -> pd.DataFrame:
    """The nights with a point of no value before each of these runs, so that no line leads to them."""
    gaps = frame[frame["run_id"].isin(run_ids)]
    if gaps.empty:
        return frame
    gaps = gaps.assign(
        run_id=-gaps["run_id"],  # ids of points are unique
        started_at=gaps["started_at"] - pd.Timedelta(seconds=1),
        median_speedup=float("nan"),
    )
    return pd.concat([frame, gaps]).sort_values("started_at", ignore_index=True)


def trend_title(frame: pd.DataFrame, name: str) -> str:
    """The first and the newest median in one sentence."""
    known = frame["median_speedup"].dropna()
    if len(known) < 2:
        return f"The trend of the median {name} starts here"
    first, last = ratio(known.iloc[0]), ratio(known.iloc[-1])
    change = f"Median {name} over {len(known)} nights: {first} to {last}"
    problems = frame.loc[known.index, "problems"]
    if are_comparable(problems.iloc[0], problems.iloc[-1]):
        return change
    return f"{change}, of different problems: {problems.iloc[0]:,} at first, {problems.iloc[-1]:,} now"


def _annotations(scope: Scope) -> list[Annotation]:
    """Events that may explain a change: new revisions, environments and baselines, notes, alerts."""
    found = [event for before, after in pairwise(scope.runs) for event in _between(before, after)]
    at = {run.id: run.started_at for run in scope.runs}
    for alert in cached_queries.alerts(device_id=scope.device.id):
        if alert.opened_run_id in at:
            found.append(Annotation(at[alert.opened_run_id], "alert", f"alert {alert.id}: {alert.title}"))
    sets = cached_queries.run_sets(scope.run_ids)
    for run_id, change in baseline_changes(sets, scope.run_ids, scope.baselines):
        found.append(Annotation(at[run_id], "baselines", change.words))
    for event in cached_queries.run_events():
        if event.run_id in at:
            found.append(Annotation(at[event.run_id], "note", f"{event.action} by {event.who}: {event.text}"))
    return found


def _between(before: RunRow, after: RunRow) -> list[Annotation]:
    found = []
    if before.environment_id != after.environment_id:
        changed = cached_queries.environment_changes(before.id, after.id)
        found.append(Annotation(after.started_at, "environment", change_list(changed)))
    if after.revision and before.revision != after.revision:
        found.append(Annotation(after.started_at, "revision", revision_label(after.revision) or ""))
    return found
