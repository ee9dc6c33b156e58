"""What a request costs: how many cells, about how long, and how much of that is allowed."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from kswatch.db.queries.runs import devices_meant
from kswatch.db.schema.tables import Measurement, Run
from kswatch.db.store import Store


@dataclass(frozen=True)
class Limits:
    """What one request may cost; those of the schedule have none."""

    cells: int = 30_000
    minutes: float = 240.0
    requests_per_hour: int = 30
    """Of one person."""

    def refusal(self, cells: int | None, seconds: float | None) -> str | None:
        """Why a run of so many cells and seconds is too much, with the cure; None where it is not."""
        if cells is not None and cells > self.cells:
            return f"{cells:,} cells are more than one request may ask for ({self.cells:,}); {_SMALLER}"
        if seconds is not None and seconds > 60 * self.minutes:
            return (
                f"it would take about {seconds / 60:,.0f} minutes; one request may take {self.minutes:g}; "
                f"{_SMALLER}"
            )
        return None


_SMALLER = "choose fewer patterns, batches or precisions, or give a budget"


def estimated_seconds(store: Store, device: str, cells: int | None) -> float | None:
    """How long so many cells took on that device lately; None where nothing is known of it."""
    per_cell = seconds_per_cell(store, device)
    return None if cells is None or per_cell is None else cells * per_cell


def seconds_per_cell(store: Store, device: str) -> float | None:
    """Seconds that a cell took in the device's newest finished run, one of a night if there is one."""
    known = devices_meant(store, device)
    if len(known) != 1:
        return None
    took = select(Run.id, Run.seconds).where(Run.device_id == known[0].id, Run.seconds > 0)
    query = took.where(Run.state == "finished").order_by((Run.kind == "nightly").desc(), Run.id.desc())
    with store.session() as session:
        newest = session.execute(query.limit(1)).one_or_none()
        if newest is None:
            return None
        measured = (Measurement.run_id == newest.id, Measurement.status != "skipped")
        cells = session.scalar(select(func.count()).select_from(Measurement).where(*measured))
        return newest.seconds / cells if cells else None
