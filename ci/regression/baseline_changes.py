"""Breaks of series where the baselines change: the members of the expert set, or the libraries of a rival.

Such a change is none of `fused`. The first night after it is judged against the nights before, so that its
size is known, with the change as its cause, which is never an alert; then the series begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kswatch.ci.regression.families import JudgedSeries
from kswatch.ci.regression.threshold import Points
from kswatch.db.alerts.causes import Cause
from kswatch.db.metrics import METRIC_BY_NAME
from kswatch.db.queries.baseline_sets import RunSets
from kswatch.db.records import EXPERT, RIVALS


class BaselineChange(NamedTuple):
    """A change of the baselines that a series depends on."""

    cause: Cause
    words: str
    """As `library version changed: triton 3.4.0 -> 3.5.0`."""


@dataclass(frozen=True)
class SeriesBasis:
    """The baselines that one point of a series was measured with."""

    members: tuple[str, ...]
    libraries: tuple[tuple[str, str], ...]
    """By rival."""


def basis_of(sets: RunSets, implementation: str, metric: str) -> SeriesBasis | None:
    """The baselines behind a series in a run; None where the series depends on none that may change."""
    if METRIC_BY_NAME[metric].baselines == EXPERT:
        members = sets.members.get(EXPERT, ())
        return SeriesBasis(members, tuple((name, sets.libraries.get(name, "")) for name in sets.rivals))
    if implementation in RIVALS:
        return SeriesBasis((implementation,), ((implementation, sets.libraries.get(implementation, "")),))
    return None


def change_between(before: SeriesBasis, after: SeriesBasis) -> BaselineChange | None:
    """What changed between two points of a series; None where nothing did."""
    if before.members != after.members:
        new, lost = (
            set(one.members) - set(other.members) for one, other in ((after, before), (before, after))
        )
        parts = [
            f"{word} {', '.join(sorted(names))}"
            for word, names in (("with", new), ("without", lost))
            if names
        ]
        return BaselineChange("baseline_set", f"baseline set changed: now {', '.join(parts)}")
    was, now = dict(before.libraries), dict(after.libraries)
    changed = [
        f"{was[name] or 'unknown'} -> {now[name] or 'unknown'}" for name in now if was[name] != now[name]
    ]
    return BaselineChange("library", f"library version changed: {'; '.join(changed)}") if changed else None


def change_of_runs(
    before: RunSets, after: RunSets, implementation: str, metric: str
) -> BaselineChange | None:
    """What changed in the baselines of a series between two runs; None where nothing did."""
    was, now = (basis_of(sets, implementation, metric) for sets in (before, after))
    return change_between(was, now) if was and now else None


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
    unknown = RunSets()
    for row, one in enumerate(series):
        own = basis_of(sets.get(run_id, unknown), one.implementation, one.metric)
        if own is None:
            continue
        of = {
            column: basis_of(sets.get(nights[column], unknown), one.implementation, one.metric)
            for column in np.flatnonzero(np.isfinite(past.value[row])).tolist()
        }
        if not of:
            continue
        newest = of[max(of)]
        same = sum(basis == own for basis in of.values())
        kept = own if newest == own or same >= minimum_runs else newest
        removed = [column for column, basis in of.items() if basis != kept]
        for part in vars(past).values():
            part[row, removed] = np.nan
        if kept is not None and (change := change_between(kept, own)):
            changes[row] = change
    return changes
