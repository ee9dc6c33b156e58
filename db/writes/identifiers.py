"""Ids of the devices, environments, revisions, problems and cells that measurements refer to."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import asdict
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.orm import Session

from kswatch.db.backend.bulk_insert import insert_rows, insert_tuples, parts
from kswatch.db.backend.mapping import PROBLEM_COLUMNS
from kswatch.db.json_text import to_json_text
from kswatch.db.records import DeviceRecord, EnvironmentRecord, ProblemKey, RevisionRecord
from kswatch.db.schema.tables import Cell, Device, Environment, Problem, Revision

CellKey = tuple[ProblemKey, str]

Wanted = Mapping[ProblemKey, Set[str]]
"""Problems, each with the implementations whose cells are wanted."""

_FEW = 40
"""Up to this many unknown problems are queried one by one; above it the whole table is read once."""


def device_id(session: Session, record: DeviceRecord) -> int:
    """The device's id; its row is updated with the record."""
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
    """The revision's id; a dirty work tree has a row of its own."""
    if record is None:
        return None
    insert_rows(session, Revision, [asdict(record)], replace=False, key=("commit", "dirty"))
    same = (Revision.commit == record.commit, Revision.dirty == record.dirty)
    return session.scalars(select(Revision.id).where(*same)).one()


class KnownProblem(NamedTuple):
    """A problem's id, and the ids of its known cells by implementation."""

    id: int
    cells: dict[str, int]


MOST_KNOWN = 20_000
"""Problems whose ids are kept: a night has some thousand, a file of other hosts' runs may have any number."""


class IdentifierCache:
    """Ids of problems and cells, kept in memory since their rows are never deleted.

    Ids that a transaction added are only valid once it is committed: call `forget` when it is not.
    """

    def __init__(self) -> None:
        self._known: dict[ProblemKey, KnownProblem] = {}

    def forget(self) -> None:
        """Drop all ids, after a transaction that failed."""
        self._known.clear()

    def problem_ids(self, connection: Connection, keys: Iterable[ProblemKey]) -> dict[ProblemKey, int]:
        """Ids of the problems; new ones are added."""
        wanted = dict.fromkeys(keys, frozenset[str]())
        self._learn(connection, wanted)
        return {key: self._known[key].id for key in wanted}

    def cell_ids(self, connection: Connection, keys: Collection[CellKey]) -> list[int]:
        """The id of each of these cells, in their order; new ones are added, with their problems."""
        wanted: dict[ProblemKey, set[str]] = {}
        for problem, cells in groupby(keys, key=itemgetter(0)):  # neighbours share it: hashing takes long
            wanted.setdefault(problem, set()).update(name for _, name in cells)
        self._learn(connection, wanted)
        ids: list[int] = []
        for problem, cells in groupby(keys, key=itemgetter(0)):
            known = self._known[problem].cells
            ids += [known[name] for _, name in cells]
        return ids

    def _learn(self, connection: Connection, wanted: Wanted) -> None:
        """Query unknown ids, and add missing rows; another process may be adding the same ones."""
        if len(self._known) > MOST_KNOWN:
            self.forget()
        missing = self._missing(wanted)
        if not missing:
            return
        self._query_problems(connection, missing)
        new = sorted((key for key in wanted if key not in self._known), key=_values)
        if new:
            insert_rows(connection, Problem, [vars(key) for key in new], replace=False, key=_PROBLEM_KEY)
            self._query_problems(connection, new)
        missing = self._missing(wanted)
        if missing:
            rows = [
                (self._known[key].id, name)
                for key in sorted(missing, key=_values)
                for name in sorted(missing[key])
            ]
            insert_tuples(connection, Cell, _CELL_KEY, rows, replace=False, key=_CELL_KEY)
            self._query_cells(connection, missing)

    def _missing(self, wanted: Wanted) -> Wanted:
        known = self._known
        return {
            key: names for key, names in wanted.items() if key not in known or names - known[key].cells.keys()
        }

    def _query_problems(self, connection: Connection, keys: Collection[ProblemKey]) -> None:
        for key, id_ in _stored_problems(connection, keys):
            self._known.setdefault(key, KnownProblem(id_, {}))
        self._query_cells(connection, keys)

    def _query_cells(self, connection: Connection, keys: Iterable[ProblemKey]) -> None:
        known = [self._known[key] for key in keys if key in self._known]
        by_id = {one.id: one.cells for one in known}
        for some in parts(by_id):
            for id_, name, cell_id in connection.execute(_CELLS, {"problem_ids": some}).all():
                by_id[id_][name] = cell_id


_CELL_KEY = ("problem_id", "implementation")
_PROBLEM_KEY = tuple(ProblemKey.__dataclass_fields__)
_values = attrgetter(*_PROBLEM_KEY)

_ONE_PROBLEM = select(Problem.id).where(*(getattr(Problem, name) == bindparam(name) for name in _PROBLEM_KEY))
_EVERY_PROBLEM = select(Problem.id, *PROBLEM_COLUMNS)
_CELLS = select(Cell.problem_id, Cell.implementation, Cell.id).where(
    Cell.problem_id.in_(bindparam("problem_ids", expanding=True))
)


def _stored_problems(
    connection: Connection, keys: Collection[ProblemKey]
) -> Iterator[tuple[ProblemKey, int]]:
    """The stored ones of these problems, with their ids."""
    if len(keys) <= _FEW:
        for key in keys:
            yield from ((key, id_) for id_ in connection.scalars(_ONE_PROBLEM, vars(key)).all())
        return
    wanted = {_values(key): key for key in keys}
    for id_, *values in connection.execute(_EVERY_PROBLEM).yield_per(1_000):
        if tuple(values) in wanted:
            yield wanted[tuple(values)], id_
