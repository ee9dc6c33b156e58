"""Tables of the heuristics' scores, and of the verdicts on them."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from kswatch.db.schema.base import Base

WITHIN_KEY = {"sqlite_with_rowid": False}
"""Rows are stored in the order of their key, in which they are read: run, metric, precision, layout."""


class HeuristicScore(Base):
    """A heuristic's score in one run, per metric, precision and layout."""

    __tablename__ = "heuristic_score"
    __table_args__ = WITHIN_KEY
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), primary_key=True)
    metric: Mapped[str] = mapped_column(String(16), primary_key=True)
    precision: Mapped[str] = mapped_column(String(12), primary_key=True)
    layout: Mapped[str] = mapped_column(String(16), primary_key=True)
    heuristic: Mapped[str] = mapped_column(String(32), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    problems: Mapped[int]
    majority: Mapped[float | None]
    accuracy: Mapped[float | None]
    accuracy_low: Mapped[float | None]
    accuracy_high: Mapped[float | None]
    balanced_accuracy: Mapped[float | None]
    tp: Mapped[int]
    fp: Mapped[int]
    fn: Mapped[int]
    tn: Mapped[int]
    regret: Mapped[float | None]


class HeuristicVerdict(Base):
    """The verdict on the newest point of a heuristic's accuracy or regret."""

    __tablename__ = "heuristic_verdict"
    __table_args__ = WITHIN_KEY
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), primary_key=True)
    metric: Mapped[str] = mapped_column(String(16), primary_key=True)
    precision: Mapped[str] = mapped_column(String(12), primary_key=True)
    layout: Mapped[str] = mapped_column(String(16), primary_key=True)
    heuristic: Mapped[str] = mapped_column(String(32), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    score: Mapped[str] = mapped_column(String(16), primary_key=True)
    verdict: Mapped[str] = mapped_column(String(16))
    value: Mapped[float]
    level: Mapped[float | None]
    change: Mapped[float | None]
    change_low: Mapped[float | None]
    change_high: Mapped[float | None]
    comparable_runs: Mapped[int] = mapped_column(default=0)
    reason: Mapped[str | None] = mapped_column(String(500))
    alert_id: Mapped[int | None] = mapped_column(ForeignKey("alert.id"), index=True)
