"""Breaks of series where the baselines change: the members of the expert set, or the libraries of a rival.

Such a change is none of `fused`. The first night after it is judged against the nights before, so that its
size is known, with the change as its cause, which is never an alert; then the series begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from kswatch.ci.regression.families import JudgedSeries
from kswatch.ci.regression.threshold import Points
from kswatch.db.queries.baseline_sets import BaselineChange, RunSets, basis_of, change_between


def break_at_changes(
    series: Sequence[JudgedSeries],
    past: Points,
    nights: Sequence[int],
    run_id: int,
    sets: Mapping[int, RunSets],
    minimum_runs: int,
) -> dict[int, BaselineChange]:
    """Remove the past points of other baselines than the history's, and return what changed, by row.

    Args:
        series: the judged series.
        past: their points, `(series, nights)`; points that are not comparable become NaN.
        nights: the nights' runs, the oldest first.
        run_id: the judged run.
        sets: the sets of all these runs.
        minimum_runs: points after a change from which on a series is judged by itself again.
    """
    changes = {}
    basis = cache(
        lambda run, implementation, metric: basis_of(sets.get(run, RunSets()), implementation, metric)
    )
    for row, one in enumerate(series):
        own = basis(run_id, one.implementation, one.metric)
        if own is None:
            continue
        known = np.flatnonzero(np.isfinite(past.value[row])).tolist()
        if not known:
            continue
        of = {column: basis(nights[column], one.implementation, one.metric) for column in known}
        newest = of[known[-1]]
        same = sum(basis_then == own for basis_then in of.values())
        kept = own if newest == own or same >= minimum_runs else newest
        removed = [column for column in known if of[column] != kept]
        for part in vars(past).values():
            part[row, removed] = np.nan
        if kept is not None and (change := change_between(kept, own)):
            changes[row] = change
    return changes
