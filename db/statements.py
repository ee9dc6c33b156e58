"""Rows into tables, on either backend: inserted, or put in place of those with the same key.

Statements are compiled once for each shape of row; plain values go straight to the driver.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import BigInteger, Boolean, Double, Insert, Integer, LargeBinary, String, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.orm import DeclarativeBase, Session

_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_DIALECTS: dict[str, Any] = {"sqlite": sqlite.dialect(), "postgresql": psycopg.dialect()}
_PLAIN = (Integer, BigInteger, Double, String, Boolean, LargeBinary)
"""Types whose values a driver takes as they are."""
PART = 500
"""Values that a statement names at once: databases limit them."""

Item = TypeVar("Item")


def insert_rows(
    session: Session,
    model: type[DeclarativeBase],
    rows: Sequence[dict[str, Any]],
    *,
    replace: bool,
    key: tuple[str, ...] = (),
) -> None:
    """Insert the rows; one whose key (default: the primary key) exists is replaced, or left as it is.

    Rows name the same columns. Tables whose values a driver takes as they are go straight to it:
    SQLAlchemy's care for each parameter would double the time of a bulk import.
    """
    if not rows:
        return
    what = (session.get_bind().dialect.name, model, key, replace, tuple(rows[0]))
    if not _is_plain(model):
        session.execute(_insert(*what), rows)
        return
    sql, order = _driver_sql(*what)
    values = [tuple(map(row.__getitem__, order)) for row in rows] if order else rows
    session.connection().exec_driver_sql(sql, values)


def insert_tuples(
    session: Session, model: type[DeclarativeBase], columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert many rows of a table of plain values, each in place of one with the same key."""
    if not rows:
        return
    sql, order = _driver_sql(session.get_bind().dialect.name, model, (), True, columns)
    values: Sequence[Any] = rows
    if order is None:
        values = [dict(zip(columns, row, strict=True)) for row in rows]
    elif tuple(order) != columns:
        pick = itemgetter(*map(columns.index, order))
        values = [pick(row) for row in rows]
    session.connection().exec_driver_sql(sql, values)


@cache
def _insert(
    backend: str, model: type[DeclarativeBase], key: tuple[str, ...], replace: bool, columns: tuple[str, ...]
) -> Insert:
    table = _table(model)
    elements = list(key) or [column.name for column in table.primary_key]
    statement = _INSERTS[backend](table).inline()
    changed = {name: statement.excluded[name] for name in columns if name not in elements}
    if replace and changed:
        return statement.on_conflict_do_update(index_elements=elements, set_=changed)
    return statement.on_conflict_do_nothing(index_elements=elements)


@cache
def _driver_sql(
    backend: str, model: type[DeclarativeBase], key: tuple[str, ...], replace: bool, columns: tuple[str, ...]
) -> tuple[str, list[str] | None]:
    """The statement as the driver wants it, and the order of its parameters where they have no names."""
    statement = _insert(backend, model, key, replace, columns)
    compiled = statement.compile(dialect=_DIALECTS[backend], column_keys=list(columns))
    return compiled.string, compiled.positiontup if compiled.positional else None


@cache
def _is_plain(model: type[DeclarativeBase]) -> bool:
    return all(isinstance(column.type, _PLAIN) for column in _table(model).columns)


def _table(model: type[DeclarativeBase]) -> Table:
    table = model.__table__
    assert isinstance(table, Table)
    return table


def parts(items: Iterable[Item], size: int = PART) -> Iterator[list[Item]]:
    """The items in lists of at most so many."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part
