"""The declarative base of all tables, and the column types that both backends share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Double, Index, Integer, LargeBinary, text
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from kswatch.db.decoding import read_time

BigInt = BigInteger().with_variant(Integer, "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """A time in UTC: aware in Python, naive UTC in SQLite, `timestamptz` in PostgreSQL."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The time in UTC; naive times are refused, since their zone is unknown."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"time {value} has no zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The stored time as an aware UTC time."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """A one-step conversion of SQLite's text, since a page reads thousands of times."""
        if dialect.name == "sqlite":
            return read_time
        return super().result_processor(dialect, coltype)


def where_known(name: str, *columns: str) -> Index:
    """A partial index of the few rows in which the last of these columns is known."""
    known = text(f"{columns[-1]} IS NOT NULL")
    return Index(name, *columns, sqlite_where=known, postgresql_where=known)


class Base(DeclarativeBase):
    """Base of the models, with the SQL types of their annotations."""

    type_annotation_map = {float: Double(), datetime: UtcDateTime(), dict[str, Any]: JSON, bytes: LargeBinary}
