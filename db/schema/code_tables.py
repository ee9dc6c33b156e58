"""Tables of compiled kernels: their resources, tuned tiles, paired ratios and hardware counters."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from kswatch.db.schema.base import Base


class Resource(Base):
    """The resources of one compiled kernel on one architecture."""

    __tablename__ = "resource"
    code_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    kernel: Mapped[str] = mapped_column(String(120), primary_key=True)
    architecture: Mapped[str] = mapped_column(String(16), primary_key=True)
    family: Mapped[str] = mapped_column(String(32))
    compiler: Mapped[str | None] = mapped_column(String(64))
    registers: Mapped[int | None]
    spill_bytes: Mapped[int | None]
    shared_bytes: Mapped[int | None]
    instructions: Mapped[dict[str, Any]] = mapped_column(default=dict)


class TunedTile(Base):
    """The fastest tile that tuning found for a problem on a device."""

    __tablename__ = "tuned_tile"
    device_id: Mapped[int] = mapped_column(ForeignKey("device.id"), primary_key=True)
    problem_id: Mapped[int] = mapped_column(ForeignKey("problem.id"), primary_key=True)
    source_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    tile: Mapped[str] = mapped_column(String(120))
    latency_ms: Mapped[float]
    latency_low_ms: Mapped[float | None]
    latency_high_ms: Mapped[float | None]
    model_latency_ms: Mapped[float | None]
    candidates: Mapped[int]
    refused: Mapped[int] = mapped_column(default=0)
    tuned_at: Mapped[datetime]


class PairedRatio(Base):
    """The later revision's latency over the earlier one's, for a cell that both measured alternately."""

    __tablename__ = "paired_ratio"
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), primary_key=True)
    cell_id: Mapped[int] = mapped_column(ForeignKey("cell.id"), primary_key=True)
    against_run_id: Mapped[int] = mapped_column(ForeignKey("run.id"))
    ratio: Mapped[float]
    rounds: Mapped[int]


class Counter(Base):
    """A hardware counter of one measurement, read in a separate pass."""

    __tablename__ = "counter"
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), primary_key=True)
    cell_id: Mapped[int] = mapped_column(ForeignKey("cell.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(120), primary_key=True)
    value: Mapped[float | None]
    unit: Mapped[str | None] = mapped_column(String(24))
    reason: Mapped[str | None] = mapped_column(String(500))
