"""Fused against the best baseline on one problem: the rule behind every speedup that is shown.

A baseline stored as unsupported, out of memory or too slow does not compete. One that has no row, or
was skipped, crashed, incorrect or implausible, leaves the problem out: ignoring it would flatter fused.
Energy is read for fused and the fastest baseline of each set only, so a baseline without a reading does not
compete where a faster one has its reading.

A speedup in latency is the paired ratio of the rounds that both were timed in, where there is one, since
drift and stalls affect both equally there; else the ratio of the medians.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from kswatch.db.records import CANNOT_COMPETE, COMPARABLE

Measured = Any
"""A `MeasurementRecord`, or a row of the store with the columns `COMPARED_COLUMNS`."""

COMPARED_METRICS: dict[str, str] = {"latency": "latency_ms", "energy": "energy_mj"}
"""The metrics of comparisons, and the column that each compares."""


class SpeedupResult(NamedTuple):
    """Fused against the best baseline on one problem; `speedup` > 1 means that fused is better."""

    best_baseline: str | None = None
    winner: str | None = None
    speedup: float | None = None
    speedup_low: float | None = None
    speedup_high: float | None = None
    left_out: str | None = None


def compare(measured: Mapping[str, Measured], metric: str, baselines: Iterable[str]) -> SpeedupResult:
    """The comparison of one problem, from its measurements by implementation, in one of `COMPARED_METRICS`.

    Of equal baselines the first one is the best.
    """
    column = COMPARED_METRICS[metric]
    fused = measured.get("fused")
    if fused is None or fused.status not in COMPARABLE:
        return SpeedupResult(left_out=f"fused: {'no row' if fused is None else fused.status}")
    if getattr(fused, column) is None:
        return SpeedupResult(left_out=f"fused: no {metric}")
    competitors, fault = _competitors(measured, metric, baselines)
    if fault or not competitors:
        return SpeedupResult(left_out=fault or "no baseline can compute it")
    best = min(competitors, key=lambda name: getattr(competitors[name], column))
    if metric == "latency" and _were_paired(fused, competitors[best]):
        names = ("ratio_to_fused", "ratio_to_fused_low", "ratio_to_fused_high")
        speedup, low, high = (getattr(competitors[best], name) for name in names)
    else:
        speedup = getattr(competitors[best], column) / getattr(fused, column)
        low, high = _energy_interval(fused, competitors[best]) if metric == "energy" else (None, None)
    return SpeedupResult(best, "fused" if speedup > 1 else best, speedup, low, high)


def _competitors(
    measured: Mapping[str, Measured], metric: str, baselines: Iterable[str]
) -> tuple[dict[str, Measured], str | None]:
    """Baselines with a number, and the reason for leaving the problem out, if any."""
    column = COMPARED_METRICS[metric]
    competitors: dict[str, Measured] = {}
    unread: dict[str, Measured] = {}
    for name in baselines:
        row = measured.get(name)
        status = "no row" if row is None else row.status
        if status in COMPARABLE:
            (unread if getattr(row, column) is None else competitors)[name] = row
        elif status not in CANNOT_COMPETE:
            return {}, f"{name}: {status}"
    for name, row in unread.items():
        if column == "latency_ms" or not _slower_than_some(row, competitors.values()):
            return {}, f"{name}: no {metric}"
    return competitors, None


def _slower_than_some(row: Measured, others: Iterable[Measured]) -> bool:
    time = row.latency_ms
    return time is not None and any(
        other.latency_ms is not None and other.latency_ms <= time for other in others
    )


def _were_paired(fused: Measured, best: Measured) -> bool:
    """Whether the ratio is one to this very measurement of fused, not to that of an older run."""
    same_run = getattr(fused, "run_id", None) == getattr(best, "run_id", None)
    return same_run and best.ratio_to_fused is not None


def _energy_interval(fused: Measured, best: Measured) -> tuple[float | None, float | None]:
    bounds = (best.energy_low_mj, best.energy_high_mj, fused.energy_low_mj, fused.energy_high_mj)
    if None in bounds or not fused.energy_low_mj:
        return None, None
    best_low, best_high, fused_low, fused_high = (float(bound or 0.0) for bound in bounds)
    return best_low / fused_high, best_high / fused_low
