"""Reads of compiled machine code: its resources, and the hardware counters of its measurements."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import select

from kswatch.db.backend.mapping import columns_of
from kswatch.db.schema.tables import Cell, Counter, Resource
from kswatch.db.store import Store


class ResourceRow(NamedTuple):
    """The resources of one compiled kernel."""

    code_hash: str
    kernel: str
    architecture: str
    family: str
    compiler: str | None
    registers: int | None
    spill_bytes: int | None
    shared_bytes: int | None
    instructions: dict[str, Any]


class CounterRow(NamedTuple):
    """A hardware counter of one cell in one run; without value it has a reason."""

    implementation: str
    name: str
    value: float | None
    unit: str | None
    reason: str | None


def resources(store: Store, code_hashes: Collection[str]) -> list[ResourceRow]:
    """The compiled kernels with these hashes."""
    query = select(*columns_of(ResourceRow, Resource)).where(Resource.code_hash.in_(code_hashes))
    with store.session() as session:
        rows = session.execute(query.order_by(Resource.code_hash, Resource.kernel, Resource.architecture))
        return [ResourceRow(*row) for row in rows]


def counters(store: Store, run_id: int, cell_ids: Collection[int]) -> list[CounterRow]:
    """Counters of these cells in a run, by name."""
    query = (
        select(Cell.implementation, Counter.name, Counter.value, Counter.unit, Counter.reason)
        .join(Cell, Cell.id == Counter.cell_id)
        .where(Counter.run_id == run_id, Counter.cell_id.in_(cell_ids))
        .order_by(Counter.name, Cell.id)
    )
    return store.read(query, CounterRow)
