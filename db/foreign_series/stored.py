"""Foreign series in the store: recorded once for each run of their tool, read by name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from kswatch.db.backend.bulk_insert import insert_rows
from kswatch.db.backend.mapping import columns_of
from kswatch.db.foreign_series.reports import ForeignReport, ForeignValue
from kswatch.db.json_text import to_json_text
from kswatch.db.schema.tables import ForeignPoint, ForeignSeries
from kswatch.db.store import Store

IMPORTED = "imported"


@dataclass(frozen=True)
class SeriesRow:
    """One foreign series."""

    id: int
    name: str
    unit: str
    direction: str | None
    labels: dict[str, str]
    source: str
    origin: str


@dataclass(frozen=True)
class PointRow:
    """One value of a foreign series."""

    id: int
    measured_at: datetime | None
    commit: str | None
    value: float
    low: float | None
    high: float | None


def record_report(store: Store, report: ForeignReport) -> int:
    """Record the report's values in one transaction; returns the number of those that are new."""
    with store.writing() as session:
        ids = _series_ids(session, report)
        known = select(ForeignPoint.series_id).where(ForeignPoint.measured_run == report.measured_run)
        recorded = set(session.scalars(known))
        rows = [
            {
                "series_id": series_id,
                "measured_run": report.measured_run,
                "measured_at": report.measured_at,
                "commit": report.commit,
                "value": one.value,
                "low": one.low,
                "high": one.high,
            }
            for one, series_id in zip(report.values, ids, strict=True)
            if series_id not in recorded
        ]
        insert_rows(session, ForeignPoint, rows, replace=False, key=("series_id", "measured_run"))
    return len(rows)


def _series_ids(session: Session, report: ForeignReport) -> list[int]:
    """The id of each value's series; new ones are added."""
    identities = [_identity(one) for one in report.values]
    rows = [
        {
            "identity": identity,
            "name": one.name,
            "unit": one.unit,
            "direction": one.direction,
            "labels": dict(one.labels),
            "source": report.source,
            "origin": IMPORTED,
        }
        for one, identity in zip(report.values, identities, strict=True)
    ]
    insert_rows(session, ForeignSeries, rows, replace=False, key=("identity",))
    found: dict[str, int] = {}
    for begin in range(0, len(identities), 500):
        part = identities[begin : begin + 500]
        query = select(ForeignSeries.identity, ForeignSeries.id).where(ForeignSeries.identity.in_(part))
        found |= {identity: series_id for identity, series_id in session.execute(query)}
    return [found[identity] for identity in identities]


def _identity(one: ForeignValue) -> str:
    text = to_json_text([one.name, one.unit, sorted(one.labels.items())], indent=None)
    return hashlib.sha256(text.encode()).hexdigest()


def foreign_series(store: Store, name: str | None = None) -> list[SeriesRow]:
    """The series of this name (None: all), by name."""
    query = select(*columns_of(SeriesRow, ForeignSeries)).order_by(ForeignSeries.name, ForeignSeries.id)
    return store.read(query if name is None else query.where(ForeignSeries.name == name), SeriesRow)


def foreign_points(store: Store, series_id: int) -> list[PointRow]:
    """The values of a series in the order of their times; in that of their import where one has no time."""
    query = select(*columns_of(PointRow, ForeignPoint)).where(ForeignPoint.series_id == series_id)
    found = store.read(query.order_by(ForeignPoint.id), PointRow)
    times = {one.id: one.measured_at for one in found if one.measured_at is not None}
    return sorted(found, key=lambda one: times[one.id]) if len(times) == len(found) else found
