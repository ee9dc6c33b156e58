"""Bulk inserts and upserts for both backends.

Statements are compiled once for each set of columns; plain values go straight to the driver.
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
"""Types whose values the drivers accept unconverted."""
PART = 500
"""Most values in one statement: databases limit them."""

Item = TypeVar("Item")


def insert_rows(
    writer: Session | Connection,
    model: type[DeclarativeBase],
    rows: Sequence[dict[str, Any]],
    *,
    replace: bool,
    key: tuple[str, ...] = (),
) -> None:
    """Insert rows of the same columns; where the key (default: the primary key) exists, replace or skip."""
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

    SQLAlchemy's handling of each parameter would double the time of a bulk import. So would unknown
    values, since SQLite's driver is slow with None: `absent` names the columns that no row has a value for.
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
    """The connection of a session; frequent writers fetch it once, since that takes time."""
    return writer if isinstance(writer, Connection) else writer.connection()


class _Backend(NamedTuple):
    insert: Callable[[Table], Any]
    dialect: Dialect
    """The dialect for compiling statements with positional parameters."""


@cache
def _backend(name: str) -> _Backend:
    """The backend in use, imported on demand: PostgreSQL's part is slow to import."""
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
    """The statement in the driver's form, and the order of its parameters.

    In a row that is replaced, absent columns become NULL.
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
    """The items in lists of at most `size`."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part
