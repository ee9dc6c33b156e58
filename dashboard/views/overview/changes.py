"""The verdicts of the newest runs: a headline, the changes in groups, and each series, the largest first."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import pandas as pd

from kswatch.dashboard.components import links, timezone
from kswatch.dashboard.components.panels import TITLES, choose_row, finding, hint, note, show_table
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.change_summary import change_summary, night_label
from kswatch.dashboard.data.device_runs import DeviceRuns
from kswatch.dashboard.formatting.labels import cause_label, count, interval, metric_label
from kswatch.db.queries.basic import RunRow

MOST_ROWS = 200
LIST_HEIGHT = 330

MARKS = {"slower": "▼ slower", "faster": "▲ faster", "ambiguous": "? ambiguous"}
"""A sign before the word: nothing depends on colour alone."""

COLUMNS = (
    *("verdict", "change", "between", "device", "pattern", "implementation", "metric"),
    *("batch", "precision", "layout", "cause", "reason", "run_id"),
)


def are_judged(runs: Sequence[RunRow]) -> bool:
    """Whether any of these runs has a verdict."""
    return not _counts(runs).empty


def changes_headline(devices: Sequence[DeviceRuns]) -> str:
    """The changes of the devices' newest runs in one sentence."""
    newest = [shown.newest for shown in devices]
    counts = _counts(newest)
    if counts.empty:
        return "The newest runs have not been judged yet"
    series, too_new = int(counts["series"].sum()), int(counts["too_new"].sum())
    if too_new == series:
        return f"Too few nights yet to judge {series:,} series"
    pairs = [run for shown in devices for run in shown.runs[-2:]]
    groups = cached_queries.change_groups(tuple(run.id for run in pairs))
    night = max(run.started_at for run in newest).astimezone(ZoneInfo(timezone.zone_name()))
    return change_summary(
        groups.itertuples(), {run.id: run.device_id for run in pairs}, night_label(night), series - too_new
    )


def show_changes(runs: Sequence[RunRow]) -> None:
    """Draw the groups of faster and slower series, and each series; choosing one opens its pattern."""
    counts = _counts(runs)
    if counts.empty:
        hint("`kswatch check` judges the newest run of each device against its history.")
        return
    run_ids = tuple(run.id for run in runs)
    finding("Changes, the largest first")
    unclear = int(counts.loc[counts["verdict"] == "ambiguous", "series"].sum())
    too_new = int(counts["too_new"].sum())
    if too_new:
        note(f"{count(too_new, 'series', 'series')} have too few nights to be judged yet.")
    if too_new == counts["series"].sum():
        return
    groups = cached_queries.change_groups(run_ids)
    if groups.empty:
        note(
            f"No significant change; the intervals of {unclear:,} series are too wide to judge them."
            if unclear
            else "Every judged series is within its noise."
        )
    else:
        _groups(groups, runs)
    if len(groups) or unclear:
        _series(cached_queries.changes(run_ids, MOST_ROWS), counts, runs)


def _counts(runs: Sequence[RunRow]) -> pd.DataFrame:
    return cached_queries.verdict_counts(tuple(run.id for run in runs))


def _groups(groups: pd.DataFrame, runs: Sequence[RunRow]) -> None:
    """Draw one row per group of series that changed alike: the summary of the night."""
    names = {run.id: run.device_model for run in runs}
    table = pd.DataFrame(
        {
            "verdict": groups["verdict"].map(MARKS),
            "largest change": [
                low if abs(low) > abs(high) else high
                for low, high in zip(groups["smallest"], groups["largest"], strict=True)
            ],
            "series": groups["series"],
            "device": groups["run_id"].map(names),
            "implementation": groups["implementation"],
            "metric": groups["metric"].map(metric_label),
            "precision": groups["precision"],
            "likely cause": groups["cause"].map(cause_label),
            "range": list(map(interval, groups["smallest"], groups["largest"])),
        }
    )
    show_table(table, LIST_HEIGHT)


def _series(changed: pd.DataFrame, counts: pd.DataFrame, runs: Sequence[RunRow]) -> None:
    by_id = {run.id: run for run in runs}
    table = readable(changed).assign(device=[by_id[run_id].device_model for run_id in changed["run_id"]])
    in_all = int(counts.loc[counts["verdict"] != "same", "series"].sum())
    first = f"The first {MOST_ROWS} of {in_all:,} series" if in_all > MOST_ROWS else f"{in_all:,} series"
    note(f"{first}, the largest change first.")
    place = choose_row(table[list(COLUMNS)].rename(columns=TITLES), "changes", "to open its pattern")
    if place is not None:
        links.open_problem(table, str(place), device=by_id[table.loc[place, "run_id"]].device_uuid)


def readable(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Verdicts with their metric and cause as text, and `between`, the interval of the change."""
    return verdicts.assign(
        verdict=verdicts["verdict"].map(MARKS),
        metric=verdicts["metric"].map(metric_label),
        cause=verdicts["cause"].map(cause_label),
        between=list(map(interval, verdicts["change_low"], verdicts["change_high"])),
    )
