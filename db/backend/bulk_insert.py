"""Rows into tables, on either backend: inserted, or put in place of those with the same key.

Statements are compiled once for each shape of row; plain values go straight to the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    Dialect,
    Double,
    Insert,
    Integer,
    LargeBinary,
    String,
    Table,
)
from sqlalchemy.orm import DeclarativeBase, Session

_PLAIN = (Integer, BigInteger, Double, String, Boolean, LargeBinary)
"""Types whose values a driver takes as they are."""
PART = 500
"""Values that a statement names at once: databases limit them."""

Item = TypeVar("Item")


def insert_rows(
    writer: Session | Connection,
    model: type[DeclarativeBase],
    rows: Sequence[dict[str, Any]],
    *,
    replace: bool,
    key: tuple[str, ...] = (),
) -> None:
    """Insert the rows; one whose key (default: the primary key) exists is replaced, or left as it is.

    Rows name the same columns.
    """
    if not rows:
        return
    columns = tuple(rows[0])
    if _is_plain(model):
        values = [tuple(map(row.__getitem__, columns)) for row in rows]
        insert_tuples(writer, model, columns, values, replace=replace, key=key)
    else:
        writer.execute(_insert(connection_of(writer).dialect.name, model, key, replace, columns), rows)


def insert_tuples(
    writer: Session | Connection,
    model: type[DeclarativeBase],
    columns: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
    *,
    absent: tuple[str, ...] = (),
    replace: bool = True,
    key: tuple[str, ...] = (),
) -> None:
    """Insert many rows of a table of plain values, which go straight to the driver.

    SQLAlchemy's care for each parameter would double the time of a bulk import. So would values that are
    not known: SQLite's driver takes long over each None, so `absent` names columns that no row has.
    """
    if not rows:
        return
    connection = connection_of(writer)
    sql, order = _driver_sql(connection.dialect.name, model, key, replace, columns, absent)
    if order != columns:
        pick = itemgetter(*map(columns.index, order))
        rows = [pick(row) for row in rows]
    connection.exec_driver_sql(sql, list(rows))


def connection_of(writer: Session | Connection) -> Connection:
    """The connection that a session writes by; what writes often asks for it once, since that takes time."""
    return writer if isinstance(writer, Connection) else writer.connection()


class _Backend(NamedTuple):
    insert: Callable[[Table], Any]
    dialect: Dialect
    """What statements for the driver are written by: parameters go by place."""


@cache
def _backend(name: str) -> _Backend:
    """Only what is in use: PostgreSQL's part takes as long to import as a small file."""
    if name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return _Backend(sqlite.insert, sqlite.dialect())
    from sqlalchemy.dialects.postgresql import insert, psycopg

    return _Backend(insert, psycopg.dialect(paramstyle="format"))


@cache
def _insert(
    backend: str, model: type[DeclarativeBase], key: tuple[str, ...], replace: bool, columns: tuple[str, ...]
) -> Insert:
    table = _table(model)
    elements = list(key) or [column.name for column in table.primary_key]
    statement = _backend(backend).insert(table).inline()
    changed = {name: statement.excluded[name] for name in columns if name not in elements}
    if replace and changed:
        return statement.on_conflict_do_update(index_elements=elements, set_=changed)
    return statement.on_conflict_do_nothing(index_elements=elements)


@cache
def _driver_sql(
    backend: str,
    model: type[DeclarativeBase],
    key: tuple[str, ...],
    replace: bool,
    columns: tuple[str, ...],
    absent: tuple[str, ...],
) -> tuple[str, tuple[str, ...]]:
    """The statement as the driver wants it, and the order of its parameters.

    Absent columns of a row that is replaced become NULL.
    """
    statement = _insert(backend, model, key, replace, columns + absent)
    compiled = statement.compile(dialect=_backend(backend).dialect, column_keys=list(columns))
    return compiled.string, tuple(compiled.positiontup or ())


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
