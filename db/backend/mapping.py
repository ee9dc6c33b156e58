"""Between records and tables, by name: which columns a record has, and a record from a row."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute

from kswatch.db.records import ProblemKey
from kswatch.db.schema.tables import Problem


def field_names(record: Any) -> tuple[str, ...]:  # noqa: ANN401  (a dataclass or a named tuple)
    """The names of the record's fields, in order."""
    return tuple(record._fields if hasattr(record, "_fields") else record.__dataclass_fields__)


def columns_of(record: Any, *models: type[DeclarativeBase]) -> list[InstrumentedAttribute]:  # noqa: ANN401
    """A column for each of the record's fields that the models have, in the order of the fields.

    Of models with a column of the same name the first one counts.
    """
    found = []
    for name in field_names(record):
        model = next((one for one in models if name in one.__table__.columns), None)
        if model is not None:
            found.append(getattr(model, name))
    return found


def record_of(record: Any, row: object, **values: object) -> Any:  # noqa: ANN401  (an instance of `record`)
    """A record from the attributes of a row that are named like its fields, and from these values."""
    names = (name for name in field_names(record) if name not in values)
    return record(**{name: getattr(row, name) for name in names}, **values)


PROBLEM_COLUMNS = tuple(columns_of(ProblemKey, Problem))


def is_problem(key: ProblemKey) -> list[ColumnElement[bool]]:
    """Conditions on `problem` that name this one."""
    return [column == getattr(key, column.key) for column in PROBLEM_COLUMNS]
