"""A run's summary, computed once when the run finishes."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from kswatch.db.backend.bulk_insert import insert_rows
from kswatch.db.schema.tables import Comparison, Problem, RunSummary


@dataclass(frozen=True)
class SpeedupSummary:
    """Speedups of many problems in a few numbers; ratios are fused over the best baseline."""

    problems: int
    fused_wins: int
    median_ratio: float | None
    median_speedup: float | None
    geomean_speedup: float | None
    speedup_p25: float | None
    speedup_p75: float | None


def summarise_speedups(speedups: Sequence[float]) -> SpeedupSummary:
    """The summary of these speedups; a win is a ratio under 1, so a tie is none."""
    if not speedups:
        return SpeedupSummary(0, 0, None, None, None, None, None)
    quartiles = (
        statistics.quantiles(speedups, n=4, method="inclusive") if len(speedups) > 1 else [speedups[0]] * 3
    )
    return SpeedupSummary(
        problems=len(speedups),
        fused_wins=sum(speedup > 1 for speedup in speedups),
        median_ratio=statistics.median(1 / speedup for speedup in speedups),
        median_speedup=statistics.median(speedups),
        geomean_speedup=math.exp(statistics.fmean(map(math.log, speedups))),
        speedup_p25=quartiles[0],
        speedup_p75=quartiles[2],
    )


_KEYS = ("metric", "precision", "layout", "baselines")


def write_run_summary(session: Session, run_id: int) -> None:
    """Write the run's summary per metric, precision, layout and set of baselines."""
    keys = (Comparison.metric, Problem.precision, Problem.layout, Comparison.baselines)
    query = (
        select(*keys, Comparison.speedup)
        .join(Problem, Problem.id == Comparison.problem_id)
        .where(Comparison.run_id == run_id)
    )
    groups: dict[tuple[str, ...], list[float | None]] = defaultdict(list)
    for *key, speedup in session.execute(query):
        groups[tuple(key)].append(speedup)
    rows = []
    for group, speedups in groups.items():
        known = [speedup for speedup in speedups if speedup is not None]
        row = {"run_id": run_id} | dict(zip(_KEYS, group, strict=True))
        rows.append(row | asdict(summarise_speedups(known)) | {"left_out": len(speedups) - len(known)})
    insert_rows(session, RunSummary, rows, replace=True)
