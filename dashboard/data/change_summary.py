"""The changes of the newest runs in one sentence, for the overview page and the static report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from kswatch.dashboard.formatting.labels import count


def night_label(night: datetime) -> str:
    """A night by its date, in the time zone of the argument."""
    return f"Night of {night.day} {night:%b}"


def change_summary(groups: Iterable[Any], runs: Mapping[int, int], night: str, series: int) -> str:
    """The number of regressions and improvements; a regression is new where the run before had none alike.

    Args:
        groups: of the newest runs and of the runs before them: rows of
            `kswatch.db.queries.verdicts.change_groups`, or of its frame.
        runs: the device of each of these runs; its greatest run id is the newest.
        night: as `night_label`.
        series: judged in the newest runs.
    """
    last = {device: run for run, device in sorted(runs.items())}
    now: set[tuple[object, ...]] = set()
    before: set[tuple[object, ...]] = set()
    for group in groups:
        device = runs[group.run_id]
        key = (device, group.verdict, group.implementation, group.metric, group.precision)
        (now if last[device] == group.run_id else before).add(key)
    regressions = {key for key in now if key[1] == "slower"}
    improvements = len(now) - len(regressions)
    if not now:
        return f"{night}: no significant change in {count(series, 'series', 'series')}"
    return (
        f"{night}: {count(len(regressions), 'regression')} ({len(regressions - before)} new), "
        f"{count(improvements, 'improvement')}, {count(series, 'series', 'series')}"
    )
