"""The ids of what measurements refer to: devices, environments, revisions, problems and cells."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import BigInteger, Boolean, Double, Insert, Integer, LargeBinary, String, Table, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.orm import DeclarativeBase, Session

from db.json_text import to_json_text
from db.models import Cell, Device, Environment, Problem, Revision
from db.records import DeviceRecord, EnvironmentRecord, ProblemKey, RevisionRecord

_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_DIALECTS: dict[str, Any] = {"sqlite": sqlite.dialect(), "postgresql": psycopg.dialect()}
_PLAIN = (Integer, BigInteger, Double, String, Boolean, LargeBinary)
"""Types whose values a driver takes as they are."""
_FEW = 40
"""Up to so many unknown problems are looked up one by one; above, the whole table is read once."""

CellKey = tuple[ProblemKey, str]


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


def device_id(session: Session, record: DeviceRecord) -> int:
    """The device's id; what is known of it is brought up to date."""
    insert_rows(session, Device, [asdict(record)], replace=True, key=("uuid",))
    return session.scalars(select(Device.id).where(Device.uuid == record.uuid)).one()


def environment_id(session: Session, record: EnvironmentRecord) -> int:
    """The id of the environment with exactly these values."""
    values = asdict(record)
    fingerprint = hashlib.sha256(to_json_text(sorted(values.items()), indent=None).encode()).hexdigest()
    row = {"fingerprint": fingerprint, **values}
    insert_rows(session, Environment, [row], replace=False, key=("fingerprint",))
    return session.scalars(select(Environment.id).where(Environment.fingerprint == fingerprint)).one()


def revision_id(session: Session, record: RevisionRecord | None) -> int | None:
    """The revision's id; a dirty work tree has one of its own."""
    if record is None:
        return None
    insert_rows(session, Revision, [asdict(record)], replace=False, key=("commit", "dirty"))
    same = (Revision.commit == record.commit, Revision.dirty == record.dirty)
    return session.scalars(select(Revision.id).where(*same)).one()


class Vocabulary:
    """Ids of problems and cells, remembered: nothing of them is ever deleted.

    Ids that a transaction added are only true once it is committed: call `forget` when it is not.
    """

    def __init__(self) -> None:
        self._problems: dict[ProblemKey, int] = {}
        self._cells: dict[CellKey, int] = {}

    def forget(self) -> None:
        """Remember nothing, after a transaction that failed."""
        self._problems.clear()
        self._cells.clear()

    def problem_ids(self, session: Session, keys: Iterable[ProblemKey]) -> dict[ProblemKey, int]:
        """Ids of the problems, which are added where they are new."""
        wanted = set(keys)
        for attempt in ("look up", "add and look up"):
            missing = sorted(key for key in wanted if key not in self._problems)
            if missing and attempt == "add and look up":
                insert_rows(session, Problem, [vars(key) for key in missing], replace=False, key=_PROBLEM_KEY)
            if missing:
                self._problems.update(_known_problems(session, missing))
        return {key: self._problems[key] for key in wanted}

    def cell_ids(self, session: Session, keys: Iterable[CellKey]) -> dict[CellKey, int]:
        """Ids of at least these cells, which are added where they are new, their problems too."""
        wanted = set(keys)
        for attempt in ("look up", "add and look up"):
            missing = {key for key in wanted if key not in self._cells}
            if not missing:
                break
            problems = self.problem_ids(session, {problem for problem, _ in missing})
            if attempt == "add and look up":
                rows = [
                    {"problem_id": problems[key], "implementation": name} for key, name in sorted(missing)
                ]
                insert_rows(session, Cell, rows, replace=False, key=("problem_id", "implementation"))
            self._cells.update(_known_cells(session, problems))
        return self._cells  # with more than was asked for: a copy would hash every problem once more


_PROBLEM_KEY = ("a", "b", "c", "d", "batch", "precision", "layout")
_PROBLEM_COLUMNS = tuple(getattr(Problem, name) for name in _PROBLEM_KEY)


def _known_problems(session: Session, keys: Collection[ProblemKey]) -> dict[ProblemKey, int]:
    query = select(Problem.id, *_PROBLEM_COLUMNS)
    if len(keys) > _FEW:
        return {ProblemKey(*values): id_ for id_, *values in session.execute(query)}
    found = {}
    for key in keys:
        row = session.execute(query.filter_by(**vars(key))).one_or_none()
        if row:
            found[key] = row[0]
    return found


def _known_cells(session: Session, problems: dict[ProblemKey, int]) -> dict[CellKey, int]:
    query = select(Cell.problem_id, Cell.implementation, Cell.id)
    if len(problems) <= _FEW:
        query = query.where(Cell.problem_id.in_(problems.values()))
    keys = {id_: key for key, id_ in problems.items()}
    return {(keys[id_], name): cell for id_, name, cell in session.execute(query) if id_ in keys}
