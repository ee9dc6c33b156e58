"""Cost of a request: its cells, its estimated duration, and the limits of both."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from kswatch.db.queries.runs import matching_devices
from kswatch.db.schema.tables import Measurement, Run
from kswatch.db.store import Store


@dataclass(frozen=True)
class RequestLimits:
    """Limits of one request by a user; scheduled ones have none."""

    cells: int = 30_000
    minutes: float = 240.0
    requests_per_hour: int = 30
    """Of one user."""

    def refusal(self, cells: int | None, seconds: float | None) -> str | None:
        """The reason why a run of this size is refused, with the cure; None where it is accepted."""
        if cells is not None and cells > self.cells:
            return f"{cells:,} cells are more than one request may have ({self.cells:,}); {_SMALLER}"
        if seconds is not None and seconds > 60 * self.minutes:
            return (
                f"it would take about {seconds / 60:,.0f} minutes; one request may take {self.minutes:g}; "
                f"{_SMALLER}"
            )
        return None


_SMALLER = "choose fewer patterns, batches or precisions, or give a budget"


def estimated_seconds(store: Store, device: str, cells: int | None) -> float | None:
    """Estimated duration of this number of cells on a device; None where it has no finished run."""
    per_cell = seconds_per_cell(store, device)
    return None if cells is None or per_cell is None else cells * per_cell


def seconds_per_cell(store: Store, device: str) -> float | None:
    """Mean seconds per cell in the device's newest finished run, a nightly one if there is any."""
    known = matching_devices(store, device)
    if len(known) != 1:
        return None
    finished = select(Run.id, Run.seconds).where(Run.device_id == known[0].id, Run.seconds > 0)
    query = finished.where(Run.state == "finished").order_by((Run.kind == "nightly").desc(), Run.id.desc())
    with store.session() as session:
        newest = session.execute(query.limit(1)).one_or_none()
        if newest is None:
            return None
        measured = (Measurement.run_id == newest.id, Measurement.status != "skipped")
        cells = session.scalar(select(func.count()).select_from(Measurement).where(*measured))
        return newest.seconds / cells if cells else None
