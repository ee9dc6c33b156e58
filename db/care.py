"""Looking after a store: is it whole, how large is it, and letting old raw samples go."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select, text

from db.columns import Base
from db.models import Run, Sample
from db.opening import schema_version
from db.store import Store


@dataclass(frozen=True)
class Stats:
    """How much a store holds."""

    store: str
    schema: str | None
    bytes: int
    rows: dict[str, int]
    """By table."""


def stats(store: Store) -> Stats:
    """The store's size, and the rows of each table."""
    with store.session() as session:
        tables = sorted(Base.metadata.tables.items())
        rows = {name: session.scalar(select(func.count()).select_from(table)) or 0 for name, table in tables}
        size = session.scalar(text(_SIZE[store.engine.dialect.name])) or 0
        return Stats(store.name, schema_version(session.connection()), size, rows)


_SIZE = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT pg_database_size(current_database())",
}


def faults(store: Store) -> list[str]:
    """What is wrong with the store's file, in its own words; empty when it is whole.

    PostgreSQL checks its pages when it reads them; there it is enough that every table can be read.
    """
    if store.engine.dialect.name != "sqlite":
        stats(store)
        return []
    with store.session() as session:
        found = [row[0] for row in session.execute(text("PRAGMA integrity_check")) if row[0] != "ok"]
        for table, row_id, parent, _ in session.execute(text("PRAGMA foreign_key_check")):
            found.append(f"row {row_id} of {table} refers to a row of {parent} that is not there")
    return found


def prune_samples(store: Store, before: datetime) -> int:
    """Let the raw samples of runs that began before go, and give their number; medians and intervals stay."""
    with store.writing() as session:
        old = select(Run.id).where(Run.started_at < before)
        return session.execute(delete(Sample).where(Sample.run_id.in_(old))).rowcount  # type: ignore[attr-defined]
