"""The judgement of a foreign series, when it is named: its newest value against the ones before it.

The test is that of our own series, as far as a series without device, environment and family has one: the
median of comparable values, a noise unit from their MAD, the floor, and two values in a row to confirm.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kswatch.ci.config import CiConfig
from kswatch.ci.formats.escape import plain
from kswatch.db.foreign_series.stored import PointRow, SeriesRow, foreign_points, foreign_series
from kswatch.db.store import Store
from kswatch.errors import UsageError

MAD_TO_DEVIATION = 1.4826


@dataclass(frozen=True)
class ForeignVerdict:
    """The verdict on the newest value of a foreign series."""

    series: SeriesRow
    verdict: Literal["better", "worse", "changed", "same"]
    """`changed` where the tool does not say which direction is better."""
    confirmed: bool
    """Whether the value before it differs likewise."""
    value: float
    level: float | None
    change: float | None
    reason: str | None

    @property
    def regressed(self) -> bool:
        """Whether it is confirmed to be worse."""
        return self.confirmed and self.verdict == "worse"


def judge_foreign(store: Store, name: str, config: CiConfig) -> list[ForeignVerdict]:
    """The verdict on each series of this name, which differ by unit and labels.

    Raises:
        UsageError: there is no such series.
    """
    found = [(one, foreign_points(store, one.id)) for one in foreign_series(store, name)]
    if not found:
        raise UsageError(
            f"there is no imported series {name[:200]!r}; `kswatch check --foreign all` lists them"
        )
    return [_verdict(series, points, config) for series, points in found if points]


def _verdict(series: SeriesRow, points: Sequence[PointRow], config: CiConfig) -> ForeignVerdict:
    values = [point.value for point in points]
    history = values[:-2][-config.noise_runs :]  # the value before the newest may show the same change
    level = statistics.median(history[-config.comparable_runs :]) if history else 0.0
    if len(history) < config.minimum_runs or level == 0:
        reason = f"{len(history)} earlier values, fewer than {config.minimum_runs}"
        reason = reason if len(history) < config.minimum_runs else "the median of the earlier values is 0"
        return ForeignVerdict(series, "same", False, values[-1], None, None, reason)
    noise = MAD_TO_DEVIATION * statistics.median(abs(value - level) for value in history)
    least = max(config.floor * abs(level), config.noise_factor * noise)
    newest, before = values[-1] - level, values[-2] - level
    change = values[-1] / level - 1
    if abs(newest) <= least:
        return ForeignVerdict(series, "same", False, values[-1], level, change, None)
    confirmed = abs(before) > least and before * newest > 0
    return ForeignVerdict(
        series, _word(series.direction, newest > 0), confirmed, values[-1], level, change, None
    )


def _word(direction: str | None, grew: bool) -> Literal["better", "worse", "changed"]:
    if direction is None:
        return "changed"
    return "better" if grew == (direction == "higher") else "worse"


def foreign_line(one: ForeignVerdict) -> str:
    """One verdict for a terminal."""
    change = "" if one.change is None else f" {100 * one.change:+.1f} %"
    sure = ", confirmed" if one.confirmed else ""
    labels = "".join(f" {name}={value}" for name, value in one.series.labels.items())
    reason = f" ({one.reason})" if one.reason else ""
    subject = f"{one.series.name}{labels} {one.value:g} {one.series.unit}"
    return plain(f"{one.verdict}{sure}{change}: {subject}{reason}")


def foreign_rows(verdicts: Sequence[ForeignVerdict]) -> list[dict[str, object]]:
    """One object for each series."""
    rows = []
    for one in verdicts:
        about = {name: getattr(one.series, name) for name in ("name", "unit", "direction", "labels")}
        origins = {"source": one.series.source, "origin": one.series.origin}
        judged = {name: value for name, value in vars(one).items() if name != "series"}
        rows.append(about | origins | judged)
    return rows
