"""Reads of how close `fused` came to the floor of its problems."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, func, select

from kswatch.db.backend.mapping import columns_of, matching
from kswatch.db.queries.runs import run_filters
from kswatch.db.schema.tables import Run, SpeedOfLight
from kswatch.db.store import Store
from kswatch.db.writes.speed_of_light import SpeedOfLightRow as SpeedOfLightRow
from kswatch.db.writes.speed_of_light import over_one_in_words


@dataclass(frozen=True)
class SpeedOfLightSummary:
    """The floor over the latency of `fused` in one run, precision and layout; 1 is the speed of light."""

    run: int
    precision: str
    layout: str
    problems: int
    median: float
    worst: float
    over_one: int
    """Number of problems faster than their floor."""
    over_one_reasons: dict[str, int]
    explanation: str
    """Why these are above 1, in words."""
    median_verdict: str | None
    """None before the run is judged."""
    median_change: float | None
    median_cause: str | None
    worst_verdict: str | None
    worst_change: float | None
    worst_cause: str | None


def speed_of_light(
    store: Store,
    runs: int | Collection[int],
    *,
    precision: str | None = None,
    layout: str | None = None,
) -> list[SpeedOfLightRow]:
    """The statistics of these runs, the oldest run first."""
    which = matching(
        (SpeedOfLight.run_id, runs), (SpeedOfLight.precision, precision), (SpeedOfLight.layout, layout)
    )
    return store.read(_rows().where(*which), SpeedOfLightRow)


def newest_speed_of_light(
    store: Store,
    device_id: int,
    kinds: Collection[str],
    *,
    run_id: int | None = None,
    precision: str | None = None,
    layout: str | None = None,
) -> list[SpeedOfLightSummary]:
    """That of one run, or of the device's newest run of these kinds that has any."""
    which = matching((SpeedOfLight.precision, precision), (SpeedOfLight.layout, layout))
    if run_id is None:
        newest = select(func.max(Run.id)).where(*run_filters(device_id, kinds, None))
        has_any = select(SpeedOfLight.run_id).where(SpeedOfLight.run_id == Run.id, *which).exists()
        which.append(SpeedOfLight.run_id == newest.where(has_any).scalar_subquery())
    else:
        which.append(SpeedOfLight.run_id == run_id)
    rows = store.read(_rows().where(*which), SpeedOfLightRow)
    return summarised(rows)


def summarised(rows: Sequence[SpeedOfLightRow]) -> list[SpeedOfLightSummary]:
    """Both statistics of each run, precision and layout side by side."""
    found: dict[tuple[int, str, str], dict[str, SpeedOfLightRow]] = {}
    for row in rows:
        found.setdefault((row.run_id, row.precision, row.layout), {})[row.statistic] = row
    return [_summary(of["median"], of["worst"]) for of in found.values() if len(of) > 1]


def _summary(median: SpeedOfLightRow, worst: SpeedOfLightRow) -> SpeedOfLightSummary:
    return SpeedOfLightSummary(
        run=median.run_id,
        precision=median.precision,
        layout=median.layout,
        problems=median.problems,
        median=median.value,
        worst=worst.value,
        over_one=sum(median.over_one.values()),
        over_one_reasons=median.over_one,
        explanation=over_one_in_words(median.over_one, median.problems),
        median_verdict=median.verdict,
        median_change=median.change,
        median_cause=median.cause,
        worst_verdict=worst.verdict,
        worst_change=worst.change,
        worst_cause=worst.cause,
    )


def _rows() -> Select:
    key = (SpeedOfLight.run_id, SpeedOfLight.precision, SpeedOfLight.layout, SpeedOfLight.statistic)
    return select(*columns_of(SpeedOfLightRow, SpeedOfLight)).order_by(*key)
