"""The trend of a median ratio over the nights, with annotations of events."""

from __future__ import annotations

import pandas as pd

from kswatch.dashboard.charts import trend
from kswatch.dashboard.components import links
from kswatch.dashboard.components.filters import Scope
from kswatch.dashboard.components.panels import chart, finding
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.annotations import annotations_of
from kswatch.dashboard.formatting.labels import are_comparable, ratio


def show_median_trend(scope: Scope, metric: str, name: str) -> None:
    """Draw the title and the chart.

    Args:
        scope: of the runs.
        metric: `latency` or `energy`.
        name: of the ratio, as `speedup`.
    """
    frame = cached_queries.summaries(scope.run_ids, metric, scope.baselines, scope.precision, scope.layout)
    finding(trend_title(frame, name))
    chart(
        trend.median_trend(frame, f"median {name} (×)", annotations_of(scope.runs, scope.device.id)),
        frame,
        f"{name.replace(' ', '_')}_trend",
        f"Median {name} by night with the IQR of the problems.",
        on_open=links.open_run,
    )


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
