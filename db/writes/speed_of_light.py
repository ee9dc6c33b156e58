"""How close `fused` came to the floor of each problem in a run, and why a value may be above 1.

The floor is the time of the compulsory bytes and flops at the rates of the run's canaries. Nothing real is
faster than the machine, so a value above 1 shows what the floor leaves out.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import Row, bindparam, select, update
from sqlalchemy.orm import Session

from kswatch.db.backend.bulk_insert import insert_rows
from kswatch.db.backend.mapping import PROBLEM_COLUMNS
from kswatch.db.records import COMPARABLE, FUSED, HEADLINE_MODES, best_rates
from kswatch.db.schema.tables import Canary, Cell, Device, Measurement, Problem, SpeedOfLight
from kswatch.declared.precisions import OUTPUT_ELEMENT_BYTES

Why = Literal["cache", "boost", "counting"]
Statistic = Literal["median", "worst"]
STATISTICS: tuple[Statistic, ...] = ("median", "worst")
WHY_OVER_ONE: Final[dict[str, str]] = {
    "cache": "operands stay in the cache, so fewer bytes reach memory than the floor counts",
    "boost": "its clock was higher than that of the canaries, whose rates make the floor",
    "counting": "neither cache nor clock explains it: the floor counts more bytes or flops than were needed, "
    "or the canaries were slower than the machine (disturbed, or a library of narrower instructions)",
}
"""The likely reasons of a value above 1, in words."""
BOOST = 1.01
"""Clock over that of the canaries from which on it explains a value above 1."""


VERDICT_COLUMNS = ("verdict", "cause", "level", "change", "comparable_runs", "reason")
KEY_COLUMNS = ("run_id", "precision", "layout", "statistic")


class SpeedOfLightRow(NamedTuple):
    """One statistic of one run, precision and layout, with its verdict where the run was judged."""

    run_id: int
    precision: str
    layout: str
    statistic: str
    value: float
    problems: int
    over_one: dict[str, Any]
    verdict: str | None
    cause: str | None
    level: float | None
    change: float | None
    comparable_runs: int | None
    reason: str | None


class CanaryRates(NamedTuple):
    """The best rates of a run's canaries, and the highest clock that they ran at."""

    bytes_per_s: float | None
    flops_per_s: Mapping[str, float]
    """By precision."""
    sm_clock_mhz: float | None


def write_speed_of_light(session: Session, run_id: int) -> None:
    """Write the median and the worst share of the floor of `fused`, by precision and layout."""
    rows = session.execute(_FUSED, {"run_id": run_id}).all()
    first: dict[int, Row[Any]] = {}
    for row in rows:  # cold before unknown
        first.setdefault(row.problem_id, row)
    rates = _canary_rates(session, run_id) if any(row.floor_ratio > 1 for row in first.values()) else None
    groups: dict[tuple[str, str], list[Row[Any]]] = defaultdict(list)
    for row in first.values():
        groups[row.precision, row.layout].append(row)
    written = []
    for (precision, layout), members in groups.items():
        ratios = [row.floor_ratio for row in members]
        over = Counter(why_over_one(row, rates) for row in members if rates and row.floor_ratio > 1)
        key = {"run_id": run_id, "precision": precision, "layout": layout}
        about = {"problems": len(ratios), "over_one": dict(sorted(over.items()))}
        values = {"median": statistics.median(ratios), "worst": min(ratios)}
        written += [key | {"statistic": name, "value": values[name]} | about for name in STATISTICS]
    insert_rows(session, SpeedOfLight, written, replace=True)


def write_verdicts(session: Session, rows: Iterable[SpeedOfLightRow]) -> None:
    """Write the verdicts on these statistics."""
    for row in rows:
        key = [getattr(SpeedOfLight, name) == getattr(row, name) for name in KEY_COLUMNS]
        verdict = {name: getattr(row, name) for name in VERDICT_COLUMNS}
        session.execute(update(SpeedOfLight).where(*key).values(verdict))


_FUSED = (
    select(Cell.problem_id, *PROBLEM_COLUMNS, Device.cache_bytes)
    .add_columns(
        *(
            getattr(Measurement, name)
            for name in ("floor_ratio", "bytes_moved", "flops", "sm_clock_mhz", "flags")
        )
    )
    .join(Cell, Cell.id == Measurement.cell_id)
    .join(Problem, Problem.id == Cell.problem_id)
    .join(Device, Device.id == Measurement.device_id)
    .where(Measurement.run_id == bindparam("run_id"), Cell.implementation == FUSED)
    .where(Measurement.status.in_(COMPARABLE), Measurement.mode.in_(HEADLINE_MODES))
    .where(Measurement.floor_ratio.is_not(None))
    .order_by(Cell.problem_id, Measurement.mode)
)


def _canary_rates(session: Session, run_id: int) -> CanaryRates:
    read = session.scalars(select(Canary).where(Canary.run_id == run_id)).all()
    clocks = [one.sm_clock_mhz for one in read if one.sm_clock_mhz is not None]
    return CanaryRates(*best_rates(read), max(clocks, default=None))


def why_over_one(cell: Any, rates: CanaryRates) -> Why:  # noqa: ANN401  (a row of measurement and problem)
    """The likely reason why a cell was faster than its floor."""
    output_bytes = OUTPUT_ELEMENT_BYTES[cell.precision] * cell.batch * cell.a * cell.b * cell.d
    fits = cell.cache_bytes is not None and output_bytes <= cell.cache_bytes
    hot = "partly_hot" in (cell.flags or "").split(",")
    if _is_bound_by_memory(cell, rates) and (fits or hot):
        return "cache"
    own_mhz, canaries_mhz = cell.sm_clock_mhz, rates.sm_clock_mhz
    if own_mhz is not None and canaries_mhz is not None and own_mhz > BOOST * canaries_mhz:
        return "boost"
    return "counting"


def _is_bound_by_memory(cell: Any, rates: CanaryRates) -> bool:  # noqa: ANN401  (as above)
    """Whether the floor is the time of its bytes rather than of its flops; unknown rates count as yes."""
    flops_per_s = rates.flops_per_s.get(cell.precision)
    if not (rates.bytes_per_s and flops_per_s and cell.bytes_moved and cell.flops):
        return True
    return cell.bytes_moved / rates.bytes_per_s >= cell.flops / flops_per_s


def over_one_in_words(over_one: Mapping[str, int], problems: int) -> str:
    """How many of these problems are above 1, and why; empty where none is."""
    if not over_one:
        return ""
    reasons = "; ".join(f"{number} since {WHY_OVER_ONE.get(why, why)}" for why, number in over_one.items())
    return f"{sum(over_one.values())} of {problems} problems are faster than the floor: {reasons}"


def values_in_words(median: float, worst: float, problems: int) -> str:
    """Both statistics in one phrase, in per cent of the floor."""
    return f"median {100 * median:.1f} %, worst {100 * worst:.1f} % of {problems} problems"
