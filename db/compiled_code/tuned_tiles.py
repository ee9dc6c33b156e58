"""The tiles that a search found on a device: written problem by problem, so that it can go on later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select

from kswatch.db.backend.bulk_insert import insert_rows
from kswatch.db.records import DeviceRecord, ProblemKey
from kswatch.db.schema.code_tables import TunedTile
from kswatch.db.schema.tables import Device, Problem
from kswatch.db.store import Store
from kswatch.db.writes.identifiers import device_id


@dataclass(frozen=True)
class TunedTileRecord:
    """What a search found for one problem."""

    problem: ProblemKey
    tile: str
    latency_ms: float
    latency_low_ms: float | None
    latency_high_ms: float | None
    model_latency_ms: float | None
    candidates: int
    refused: int
    tuned_at: datetime


def record(store: Store, device: DeviceRecord, source_hash: str, found: TunedTileRecord) -> None:
    """Keep what was found; searching again replaces it."""
    row = {name: value for name, value in vars(found).items() if name != "problem"}
    with store.writing() as session:
        row["problem_id"] = store.vocabulary.problem_ids(session.connection(), {found.problem})[found.problem]
        row |= {"device_id": device_id(session, device), "source_hash": source_hash}
        insert_rows(session, TunedTile, [row], replace=True)


def of_device(store: Store, device_uuid: str, source_hash: str) -> Sequence[TunedTileRecord]:
    """All that was found there for these sources, by problem."""
    keys = [getattr(Problem, name) for name in ProblemKey.__dataclass_fields__]
    columns = [getattr(TunedTile, name) for name in TunedTileRecord.__dataclass_fields__ if name != "problem"]
    query = (
        select(*keys, *columns)
        .join(TunedTile, TunedTile.problem_id == Problem.id)
        .join(Device, Device.id == TunedTile.device_id)
        .where(Device.uuid == device_uuid, TunedTile.source_hash == source_hash)
        .order_by(*keys)
    )
    with store.session() as session:
        rows = session.execute(query).all()
    return [TunedTileRecord(ProblemKey(*row[: len(keys)]), *row[len(keys) :]) for row in rows]


def now() -> datetime:
    """The time that a record is stamped with."""
    return datetime.now(UTC)
