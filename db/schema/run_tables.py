"""Tables of what a whole run gave: its summary, its sets of baselines, and its speed of light."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from kswatch.db.schema.base import Base

WITHIN_KEY = {"sqlite_with_rowid": False}
"""Rows are stored in the order of their key, in which they are read: by run."""


class RunSummary(Base):
    """A run's summary per metric, precision, layout and baseline set."""

    __tablename__ = "run_summary"
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), primary_key=True)
    metric: Mapped[str] = mapped_column(String(16), primary_key=True)
    precision: Mapped[str] = mapped_column(String(12), primary_key=True)
    layout: Mapped[str] = mapped_column(String(16), primary_key=True)
    baselines: Mapped[str] = mapped_column(String(8), primary_key=True)
    problems: Mapped[int]
    fused_wins: Mapped[int]
    left_out: Mapped[int]
    median_ratio: Mapped[float | None]
    median_speedup: Mapped[float | None]
    geomean_speedup: Mapped[float | None]
    speedup_p25: Mapped[float | None]
    speedup_p75: Mapped[float | None]


class BaselineSet(Base):
    """A set of baselines that a run was compared with; its name and members are its identity."""

    __tablename__ = "baseline_set"
    __table_args__ = WITHIN_KEY
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(8), primary_key=True)
    """As in `comparison.baselines`."""
    members: Mapped[str] = mapped_column(String(500))
    """Those that could be had, sorted, separated by commas."""
    absent: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Why each rival that could not be had is no member."""


class SpeedOfLight(Base):
    """The floor over the latency of `fused` in one run, over the problems of a precision and layout.

    With the verdicts on both statistics once the run was judged; None where it was not.
    """

    __tablename__ = "speed_of_light"
    __table_args__ = WITHIN_KEY
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), primary_key=True)
    precision: Mapped[str] = mapped_column(String(12), primary_key=True)
    layout: Mapped[str] = mapped_column(String(16), primary_key=True)
    statistic: Mapped[str] = mapped_column(String(8), primary_key=True)
    """`median` or `worst` of the problems."""
    value: Mapped[float]
    problems: Mapped[int]
    over_one: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Number of problems above 1 by the likely reason: cache, boost or counting."""
    verdict: Mapped[str | None] = mapped_column(String(16))
    cause: Mapped[str | None] = mapped_column(String(24))
    level: Mapped[float | None]
    change: Mapped[float | None]
    """value / level - 1."""
    comparable_runs: Mapped[int | None]
    reason: Mapped[str | None] = mapped_column(String(500))
