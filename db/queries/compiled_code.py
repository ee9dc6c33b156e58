"""Reads of the machine code behind a measurement: what the compiler gave it, what its counters read."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import select

from kswatch.db.schema.tables import Cell, Counter, Resource
from kswatch.db.store import Store


class ResourceRow(NamedTuple):
    """What the compiler gave one kernel."""

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
    """A hardware counter of one cell in one run; a refused one has a reason instead of a value."""

    implementation: str
    name: str
    value: float | None
    unit: str | None
    reason: str | None


def resources(store: Store, code_hashes: Collection[str]) -> list[ResourceRow]:
    """The kernels that were compiled to this machine code."""
    columns = [getattr(Resource, name) for name in ResourceRow._fields]
    query = select(*columns).where(Resource.code_hash.in_(code_hashes))
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
    with store.session() as session:
        return [CounterRow(*row) for row in session.execute(query)]
