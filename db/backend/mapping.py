"""Between records and tables, by name: columns of a record, conditions on them, and records from rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Executable
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Session

from kswatch.db.records import ProblemKey
from kswatch.db.schema.tables import Problem


def field_names(record: Any) -> tuple[str, ...]:  # noqa: ANN401  (a dataclass or a named tuple)
    """The names of the record's fields, in order."""
    return tuple(record._fields if hasattr(record, "_fields") else record.__dataclass_fields__)


def columns_of(record: Any, *models: type[DeclarativeBase]) -> list[InstrumentedAttribute]:  # noqa: ANN401
    """A column for each of the record's fields that the models have, in the order of the fields.

    Of models with a column of the same name the first one counts.
    """
    owners = {name: [one for one in models if name in one.__table__.columns] for name in field_names(record)}
    return [getattr(found[0], name) for name, found in owners.items() if found]


def record_of(record: Any, row: object, **values: object) -> Any:  # noqa: ANN401  (an instance of `record`)
    """A record from the attributes of a row that are named like its fields, and from these values."""
    names = (name for name in field_names(record) if name not in values)
    return record(**{name: getattr(row, name) for name in names}, **values)


PROBLEM_COLUMNS = tuple(columns_of(ProblemKey, Problem))


def key_first(row: Sequence[Any]) -> tuple[Any, ...]:
    """A row that begins with `PROBLEM_COLUMNS`, with the problem's key in their place."""
    columns = len(PROBLEM_COLUMNS)
    return (ProblemKey(*row[:columns]), *row[columns:])


def matching(*wanted: tuple[Any, object]) -> list[ColumnElement[bool]]:
    """Conditions that each column has its value, or one of several; None means any."""
    return [
        column.in_(value) if isinstance(value, Collection) and not isinstance(value, str) else column == value
        for column, value in wanted
        if value is not None
    ]


def is_problem(key: ProblemKey | None) -> list[ColumnElement[bool]]:
    """Conditions on `problem` that name this one; None means any."""
    return [] if key is None else [column == getattr(key, column.key) for column in PROBLEM_COLUMNS]


def driver_rows(
    session: Session, query: Executable, parameters: Mapping[str, Any] | None = None
) -> list[tuple[Any, ...]]:
    """All rows of the query as the driver's tuples, in half of the time that SQLAlchemy's rows take.

    For numbers, texts and bytes alone: times, booleans and JSON would come in each database's own form.
    """
    result = session.connection().execute(query, parameters)
    assert result.cursor is not None
    rows: Any = result.cursor.fetchall()
    result.close()
    return rows
