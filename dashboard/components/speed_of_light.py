"""How close fused comes to the floor of its problems: the metric of a card, and the trend over the nights."""

from __future__ import annotations

import pandas as pd

from kswatch.dashboard.charts.speed_of_light import speed_of_light_trend
from kswatch.dashboard.components import links
from kswatch.dashboard.components.filters import ProblemFilters, Scope
from kswatch.dashboard.components.panels import chart, finding, note
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import cause_label, count, percent, share
from kswatch.db.queries.speed_of_light import SpeedOfLightRow, SpeedOfLightSummary, summarised

MEANING = (
    "The floor is the time of the compulsory bytes and flops at the rates of this run's canaries; "
    "100 % is the speed of light."
)


def explain_cells_over_one(cells: pd.DataFrame) -> None:
    """Draw how many cells are faster than their floor, and why that can be; nothing where none is.

    Args:
        cells: `floor_ratio`, floor over measured time.
    """
    over = cells.loc[cells["floor_ratio"] > 1, "floor_ratio"]
    if len(over):
        note(
            f"{count(len(over), 'cell')} faster than the floor, up to {share(over.max())} of it: the floor "
            "is the time at the rates of this run's canaries, so the machine was busy when they ran, "
            "or operands stayed in a cache."
        )


def show_trend(scope: Scope) -> None:
    """Draw the chart by night with a title; nothing where no run has a floor."""
    frame = _of(scope.run_ids, scope.about)
    newest = _summary(frame, scope.newest.id)
    if newest is None:
        return
    finding(
        f"Fused reaches {share(newest.median)} of the speed of light in the median, "
        f"{share(newest.worst)} at worst"
    )
    note(f"{MEANING}{_judged(newest)}")
    if newest.explanation:
        note(f"Above the speed of light: {newest.explanation}.")
    started = {run.id: run.started_at for run in scope.runs}
    frame = frame.assign(started_at=frame["run_id"].map(started)).dropna(subset=["started_at"])
    shown = frame[["run_id", "started_at", "statistic", "value", "problems", "verdict", "change"]]
    chart(
        speed_of_light_trend(shown),
        shown,
        "speed_of_light",
        f"Floor over measured time of fused by night; the newest median is {share(newest.median)}.",
        on_open=links.open_run,
    )


def _of(run_ids: tuple[int, ...], about: ProblemFilters) -> pd.DataFrame:
    return cached_queries.speed_of_light(run_ids, precision=about["precision"], layout=about["layout"])


def _summary(frame: pd.DataFrame, run_id: int) -> SpeedOfLightSummary | None:
    own = frame[frame["run_id"] == run_id]
    rows = [SpeedOfLightRow(**row) for row in own.to_dict("records")]
    return next(iter(summarised(rows)), None)


def _judged(newest: SpeedOfLightSummary) -> str:
    """The verdicts that moved, as a sentence of their own."""
    verdicts = (
        ("median", newest.median_verdict, newest.median_change, newest.median_cause),
        ("worst", newest.worst_verdict, newest.worst_change, newest.worst_cause),
    )
    moved = [
        f"the {name} is {verdict} by {percent(change or 0.0)}" + (f" ({cause_label(cause)})" if cause else "")
        for name, verdict, change, cause in verdicts
        if verdict in ("slower", "faster")
    ]
    return f" Against the nights before, {' and '.join(moved)}." if moved else ""
