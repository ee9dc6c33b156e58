"""Integrity checks, size statistics and the deletion of old raw samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from kswatch.db.backend.engine import schema_version
from kswatch.db.schema.base import Base
from kswatch.db.schema.tables import Device, Run, Sample
from kswatch.db.store import Store


@dataclass(frozen=True)
class Growth:
    """Rows that the newest night of a device added."""

    device: str
    run: int
    rows: int
    bytes: int | None
    """Estimated from the mean size of each table's rows."""


@dataclass(frozen=True)
class Stats:
    """The size of a store."""

    store: str
    schema: str | None
    bytes: int
    rows: dict[str, int]
    """By table."""
    bytes_by_table: dict[str, int]
    """With the indexes; empty where the database does not report it."""
    growth: tuple[Growth, ...]


def stats(store: Store) -> Stats:
    """The store's size, in all and by table, and the growth by the newest nights."""
    with store.session() as session:
        tables = sorted(Base.metadata.tables.items())
        rows = {name: session.scalar(select(func.count()).select_from(table)) or 0 for name, table in tables}
        size = session.scalar(text(_SIZE[store.engine.dialect.name])) or 0
        by_table = _bytes_by_table(session)
        version = schema_version(session.connection())
        growth = tuple(_growth(session, rows, by_table))
    return Stats(store.name, version, size, rows, by_table, growth)


def _bytes_by_table(session: Session) -> dict[str, int]:
    query = _SIZE_BY_TABLE[session.get_bind().dialect.name]
    try:
        found = {name: int(size) for name, size in session.execute(text(query))}
    except DBAPIError:  # an SQLite that was built without it
        session.rollback()
        return {}
    return {name: found.get(name, 0) for name in sorted(Base.metadata.tables)}


def _growth(session: Session, rows: dict[str, int], by_table: dict[str, int]) -> Iterator[Growth]:
    nights = (Run.kind == "nightly", Run.state == "finished")
    newest = select(Device.uuid, func.max(Run.id)).join(Run, Run.device_id == Device.id).where(*nights)
    of_runs = [table for _, table in sorted(Base.metadata.tables.items()) if "run_id" in table.columns]
    for uuid, run_id in session.execute(newest.group_by(Device.uuid).order_by(Device.uuid)).all():
        added, size = 0, 0.0
        for table in of_runs:
            query = select(func.count()).select_from(table).where(table.c.run_id == run_id)
            own = session.scalar(query) or 0
            added += own
            size += own * by_table.get(table.name, 0) / max(1, rows[table.name])
        yield Growth(uuid, run_id, added, round(size) if by_table else None)


_SIZE = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT pg_database_size(current_database())",
}
_SIZE_BY_TABLE = {
    "sqlite": "SELECT m.tbl_name, sum(s.pgsize) FROM dbstat s JOIN sqlite_master m ON m.name = s.name "
    "GROUP BY m.tbl_name",
    "postgresql": "SELECT relname, pg_total_relation_size(relid) FROM pg_stat_user_tables",
}


def faults(store: Store) -> list[str]:
    """The database's messages about damage in the store; empty when it is intact.

    PostgreSQL checks its pages when it reads them, so there every table is read.
    """
    if store.engine.dialect.name != "sqlite":
        stats(store)
        return []
    with store.session() as session:
        found = [row[0] for row in session.execute(text("PRAGMA integrity_check")) if row[0] != "ok"]
        for table, row_id, parent, _ in session.execute(text("PRAGMA foreign_key_check")):
            found.append(f"row {row_id} of {table} refers to a row of {parent} that does not exist")
    return found


def damage_of(url: str) -> str | None:
    """What is damaged in the store at a URL, as a sentence with the cure; None if nothing, or not known."""
    try:
        store = Store.open(url, create=False)
        found = faults(store)
    except Exception:  # this is asked while another error is being reported
        return None
    return damage_in_words(store.name, found) if found else None


def damage_in_words(name: str, found: Sequence[str]) -> str:
    """The first faults of a store, with the cure."""
    return (
        f"store {name} is damaged ({'; '.join(found[:3])}); "
        "put a backup in its place; or `kswatch export --all FILE`, and import FILE into a new store"
    )


def prune_samples(store: Store, before: datetime) -> int:
    """Delete the raw samples of runs that began before, and return their number; medians stay."""
    with store.writing() as session:
        old = select(Run.id).where(Run.started_at < before)
        return session.execute(delete(Sample).where(Sample.run_id.in_(old))).rowcount  # type: ignore[attr-defined]
