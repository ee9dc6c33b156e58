"""The table of the levels of each series: what lies between its lasting changes."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from kswatch.db.schema.base import Base


class SeriesLevel(Base):
    """One level of one series; it ends where the series' next one begins."""

    __tablename__ = "series_level"
    __table_args__ = (
        Index("series_level_by_change", "device_id", "last_good_run_id"),
        {"sqlite_with_rowid": False},
    )
    device_id: Mapped[int] = mapped_column(ForeignKey("device.id"), primary_key=True)
    cell_id: Mapped[int] = mapped_column(ForeignKey("cell.id"), primary_key=True)
    metric: Mapped[str] = mapped_column(String(24), primary_key=True)
    first_run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), primary_key=True)
    last_good_run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id"))
    """The last night of the level before; None for the first level."""
    found_run_id: Mapped[int] = mapped_column(ForeignKey("run.id"))
    """The newest night when the series' levels were last looked for."""
    median: Mapped[float]
    median_low: Mapped[float]
    median_high: Mapped[float]
    noise: Mapped[float]
    """1.4826 x MAD of the series around its levels, in the unit of the metric."""
