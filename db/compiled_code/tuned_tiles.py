"""Tiles found by tuning on a device, written problem by problem so that tuning can be resumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from kswatch.db.backend.bulk_insert import insert_rows
from kswatch.db.backend.mapping import PROBLEM_COLUMNS, columns_of, key_first
from kswatch.db.records import DeviceRecord, ProblemKey
from kswatch.db.schema.code_tables import TunedTile
from kswatch.db.schema.tables import Device, Problem
from kswatch.db.store import Store
from kswatch.db.writes.identifiers import device_id


@dataclass(frozen=True)
class TunedTileRecord:
    """The tuning result of one problem."""

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
    """Record a result; tuning again replaces it."""
    row = {name: value for name, value in vars(found).items() if name != "problem"}
    with store.writing() as session:
        ids = store.identifiers.problem_ids(session.connection(), [found.problem])
        row |= {"device_id": device_id(session, device), "problem_id": ids[found.problem]}
        row["source_hash"] = source_hash
        insert_rows(session, TunedTile, [row], replace=True)


def of_device(store: Store, device_uuid: str, source_hash: str) -> Sequence[TunedTileRecord]:
    """The results on a device for these sources, by problem."""
    query = (
        select(*PROBLEM_COLUMNS, *columns_of(TunedTileRecord, TunedTile))
        .join(TunedTile, TunedTile.problem_id == Problem.id)
        .join(Device, Device.id == TunedTile.device_id)
        .where(Device.uuid == device_uuid, TunedTile.source_hash == source_hash)
        .order_by(*PROBLEM_COLUMNS)
    )
    return store.read(query, lambda *row: TunedTileRecord(*key_first(row)))
