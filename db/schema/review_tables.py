"""Tables of changes under review: gates with their cells and findings, and bisections with their steps."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from kswatch.db.schema.base import Base
from kswatch.db.schema.run_tables import WITHIN_KEY


class GateRun(Base):
    """One comparison of two revisions: of their speed on a device, or of their machine code."""

    __tablename__ = "gate_run"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    """`measured`, or `static` without a device."""
    started_at: Mapped[datetime]
    seconds: Mapped[float | None]
    base_commit: Mapped[str | None] = mapped_column(String(64))
    head_commit: Mapped[str] = mapped_column(String(64), index=True)
    subject: Mapped[str | None] = mapped_column(String(500))
    branch: Mapped[str | None] = mapped_column(String(255))
    author: Mapped[str | None] = mapped_column(String(255))
    host: Mapped[str | None] = mapped_column(String(255))
    device_id: Mapped[int | None] = mapped_column(ForeignKey("device.id"))
    base_run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id"))
    head_run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id"))
    outcome: Mapped[str] = mapped_column(String(24))
    exit_code: Mapped[int]
    notes: Mapped[list[str]] = mapped_column(JSON, default=list)
    reason: Mapped[str | None] = mapped_column(String(2000))
    """Why a revision could not be measured, with the end of the compiler's output."""


class GateCell(Base):
    """One cell of a gate, as it was judged."""

    __tablename__ = "gate_cell"
    __table_args__ = WITHIN_KEY
    gate_run_id: Mapped[int] = mapped_column(ForeignKey("gate_run.id"), primary_key=True)
    cell_id: Mapped[int] = mapped_column(ForeignKey("cell.id"), primary_key=True)
    verdict: Mapped[str | None] = mapped_column(String(16))
    confirmed: Mapped[bool]
    change: Mapped[float | None]
    change_low: Mapped[float | None]
    change_high: Mapped[float | None]
    p_value: Mapped[float | None]
    base_ms: Mapped[float | None]
    head_ms: Mapped[float | None]
    base_status: Mapped[str | None] = mapped_column(String(16))
    head_status: Mapped[str | None] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(2000))
    pairs: Mapped[int]
    rounds: Mapped[int]


class GateFinding(Base):
    """One figure of the machine code that changed, or that is over its budget."""

    __tablename__ = "gate_finding"
    __table_args__ = WITHIN_KEY
    gate_run_id: Mapped[int] = mapped_column(ForeignKey("gate_run.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    """`over_budget`, `regressed` or `changed`."""
    kernel: Mapped[str] = mapped_column(String(120))
    architecture: Mapped[str] = mapped_column(String(16))
    figure: Mapped[str] = mapped_column(String(64))
    before: Mapped[str | None] = mapped_column(String(64))
    after: Mapped[str | None] = mapped_column(String(64))


class GateCode(Base):
    """The machine code of a kernel that differs between the revisions of a gate."""

    __tablename__ = "gate_code"
    gate_run_id: Mapped[int] = mapped_column(ForeignKey("gate_run.id"), primary_key=True)
    kernel: Mapped[str] = mapped_column(String(120), primary_key=True)
    architecture: Mapped[str] = mapped_column(String(16), primary_key=True)
    base_code: Mapped[bytes]
    """SASS without addresses, zlib over UTF-8."""
    head_code: Mapped[bytes]


class Bisection(Base):
    """The search for the commit that caused an alert, continued after each night until it has ended."""

    __tablename__ = "bisection"
    __table_args__ = (Index("bisection_of_alert", "alert_id", unique=True),)
    id: Mapped[int] = mapped_column(primary_key=True)
    alert_id: Mapped[int] = mapped_column(ForeignKey("alert.id"))
    good_commit: Mapped[str] = mapped_column(String(64))
    bad_commit: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    """`waiting` for the next night, `found` or `failed`."""
    started_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    seconds: Mapped[float] = mapped_column(default=0.0)
    cell: Mapped[dict[str, Any] | None]
    """The worst cell of the bad revision, which is followed."""
    suspects: Mapped[list[str]] = mapped_column(JSON, default=list)
    """The first bad commit, then earlier ones that could not be measured; empty until it is found."""
    message: Mapped[str | None] = mapped_column(String(2000))


class BisectionStep(Base):
    """One commit of a bisection."""

    __tablename__ = "bisection_step"
    __table_args__ = WITHIN_KEY
    bisection_id: Mapped[int] = mapped_column(ForeignKey("bisection.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    commit: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16))
    """`good`, `bad` or `skipped`."""
    change: Mapped[float | None]
    reason: Mapped[str | None] = mapped_column(String(2000))
