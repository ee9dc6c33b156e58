"""Tables of what other tools made: their series, and files that a run keeps."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from kswatch.db.schema.base import Base, BigInt


class ForeignSeries(Base):
    """A metric of another tool's benchmark; it belongs to no pattern and no device."""

    __tablename__ = "foreign_series"
    id: Mapped[int] = mapped_column(primary_key=True)
    identity: Mapped[str] = mapped_column(String(64), unique=True)
    """SHA-256 of name, unit and labels."""
    name: Mapped[str] = mapped_column(String(500), index=True)
    unit: Mapped[str] = mapped_column(String(40))
    direction: Mapped[str | None] = mapped_column(String(8))
    """`lower` or `higher` is better; None where the tool does not say."""
    labels: Mapped[dict[str, Any]] = mapped_column(default=dict)
    source: Mapped[str] = mapped_column(String(32))
    origin: Mapped[str] = mapped_column(String(16), default="imported")


class ForeignPoint(Base):
    """One value of a foreign series; ids are in the order of the imports."""

    __tablename__ = "foreign_point"
    __table_args__ = (UniqueConstraint("series_id", "measured_run"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("foreign_series.id"))
    measured_run: Mapped[str] = mapped_column(String(64))
    """SHA-256 of what identifies the run of the tool: importing it again records nothing."""
    measured_at: Mapped[datetime | None]
    commit: Mapped[str | None] = mapped_column(String(64))
    value: Mapped[float]
    low: Mapped[float | None]
    high: Mapped[float | None]


class Artifact(Base):
    """A file that a run keeps, such as the report of `ncu`; its bytes are in `artifact_content`."""

    __tablename__ = "artifact"
    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(255))
    size_bytes: Mapped[int] = mapped_column(BigInt)
    sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]


class ArtifactContent(Base):
    """The bytes of an artifact, apart from it, so that lists do not read them."""

    __tablename__ = "artifact_content"
    artifact_id: Mapped[int] = mapped_column(ForeignKey("artifact.id"), primary_key=True)
    content: Mapped[bytes]
