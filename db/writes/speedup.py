"""Fused against the best baseline, for one problem: the one rule behind every speedup that is shown.

A baseline stored as unsupported, out of memory or too slow is no contender. One that has no row, or
was skipped, crashed, incorrect or implausible, leaves the problem out: as no contender it would
flatter fused. Energy is read for fused and the fastest baseline only, so a baseline without a
reading is no contender where a faster one has its reading.

A speedup in time is the paired ratio of the rounds that both were timed in, where there is one, since
drift and stalls hit both alike there; else the ratio of the medians.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from kswatch.db.records import COMPARABLE, NO_CONTENDER

Measured = Any
"""A `kswatch.db.records.MeasurementRecord`, or a row of the store with `recording.COMPARED_COLUMNS`."""

COMPARED_METRICS: dict[str, str] = {"latency": "latency_ms", "energy": "energy_mj"}
"""What a comparison is about, and the column that it compares."""


class Outcome(NamedTuple):
    """How fused did on one problem; `speedup` > 1 means that fused is better."""

    best_baseline: str | None = None
    winner: str | None = None
    speedup: float | None = None
    speedup_low: float | None = None
    speedup_high: float | None = None
    left_out: str | None = None


def compare(measured: Mapping[str, Measured], metric: str, baselines: Iterable[str]) -> Outcome:
    """The outcome of one problem from its measurements by implementation.

    Args:
        measured: what each implementation gave; one that is absent has no row.
        metric: a key of `COMPARED_METRICS`.
        baselines: who must be beaten; the order decides between equals.
    """
    column = COMPARED_METRICS[metric]
    fused = measured.get("fused")
    if fused is None or fused.status not in COMPARABLE:
        return Outcome(left_out=f"fused: {'no row' if fused is None else fused.status}")
    if getattr(fused, column) is None:
        return Outcome(left_out=f"fused: no {metric}")
    contenders, fault = _contenders(measured, metric, baselines)
    if fault or not contenders:
        return Outcome(left_out=fault or "no baseline can compute it")
    best = min(contenders, key=lambda name: getattr(contenders[name], column))
    if metric == "latency" and _were_paired(fused, contenders[best]):
        speedup, low, high = _paired(contenders[best])
    else:
        speedup = getattr(contenders[best], column) / getattr(fused, column)
        low, high = _energy_interval(fused, contenders[best]) if metric == "energy" else (None, None)
    return Outcome(best, "fused" if speedup > 1 else best, speedup, low, high)


def _contenders(
    measured: Mapping[str, Measured], metric: str, baselines: Iterable[str]
) -> tuple[dict[str, Measured], str | None]:
    """Baselines with a number, and what leaves the problem out, if anything does."""
    column = COMPARED_METRICS[metric]
    contenders: dict[str, Measured] = {}
    unread: dict[str, Measured] = {}
    for name in baselines:
        row = measured.get(name)
        status = "no row" if row is None else row.status
        if status in COMPARABLE:
            (unread if getattr(row, column) is None else contenders)[name] = row
        elif status not in NO_CONTENDER:
            return {}, f"{name}: {status}"
    for name, row in unread.items():
        if column == "latency_ms" or not _slower_than_some(row, contenders.values()):
            return {}, f"{name}: no {metric}"
    return contenders, None


def _slower_than_some(row: Measured, others: Iterable[Measured]) -> bool:
    time = row.latency_ms
    return time is not None and any(
        other.latency_ms is not None and other.latency_ms <= time for other in others
    )


def _were_paired(fused: Measured, best: Measured) -> bool:
    """Whether the ratio is one to this very measurement of fused, not to that of an older run."""
    same_run = getattr(fused, "run_id", None) == getattr(best, "run_id", None)
    return same_run and best.ratio_to_fused is not None


def _paired(best: Measured) -> tuple[float, float | None, float | None]:
    return best.ratio_to_fused, best.ratio_to_fused_low, best.ratio_to_fused_high


def _energy_interval(fused: Measured, best: Measured) -> tuple[float | None, float | None]:
    bounds = (best.energy_low_mj, best.energy_high_mj, fused.energy_low_mj, fused.energy_high_mj)
    if None in bounds or not fused.energy_low_mj:
        return None, None
    best_low, best_high, fused_low, fused_high = (float(bound or 0.0) for bound in bounds)
    return best_low / fused_high, best_high / fused_low
