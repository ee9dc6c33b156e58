"""Kills a process at one of its commits, and reads a store so that two stores can be compared."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import struct
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import DateTime, Engine, Table, select
from sqlalchemy.engine import default

from kswatch.db.schema.base import Base
from kswatch.db.store import Store

Moment = Literal["before", "after"]

_OF_PROCESSES = {"lease", "worker", "run_log"}
"""Tables of the processes that there were, and of times."""
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC")
"""Of a process or a start, in a text; due times have no seconds."""
_NAMED_ID = re.compile(r"\b(run|alert|request) (\d+)")
_OF_RUN = "_run"
"""End of the keys of stored JSON whose values are ids of runs."""
_POINT = struct.Struct("<Ifff")
"""One point of a series' tail: its run, value and interval."""
_OF_TIME = {"identity", "seconds", "harness_seconds", "seconds_left", "seconds_planned"}


@contextmanager
def at_each_commit(act: Callable[[int, Moment], None]) -> Iterator[None]:
    """Call `act` before and after each commit inside, with its number, counted from 1."""
    committed = 0
    commit = default.DefaultDialect.do_commit

    def counted(dialect: default.DefaultDialect, connection: Any) -> None:  # noqa: ANN401
        nonlocal committed
        committed += 1
        number = committed
        act(number, "before")
        commit(dialect, connection)
        act(number, "after")

    default.DefaultDialect.do_commit = counted
    try:
        yield
    finally:
        default.DefaultDialect.do_commit = commit


def snapshots(life: Callable[[], object], path: Path, folder: Path) -> list[Path]:
    """What a kill before each commit of `life`, and one after its last, leaves of the SQLite store at `path`.

    The store is all that outlasts a process, so one life in a child shows what kills at all of its commits
    leave. The last file is that of the whole life.
    """

    def keep(name: str) -> None:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(folder / name)) as target:
            source.backup(target)

    def live() -> None:
        with at_each_commit(lambda number, moment: moment == "before" and keep(f"{number:04}.db")):
            life()
        keep("9999.db")

    assert not _ends_by_signal(live)
    return sorted(folder.glob("[0-9]*.db"))


def is_killed(life: Callable[[], object], number: int, moment: Moment) -> bool:
    """Run `life` in a child that kills itself at this commit; False where it ends without reaching it."""

    def live() -> None:
        with at_each_commit(lambda *at: at == (number, moment) and os.kill(os.getpid(), signal.SIGKILL)):
            life()

    return _ends_by_signal(live)


def started_child(live: Callable[[], object]) -> int:
    """The id of a child process that runs `live` and ends with 0, or with 1 and a traceback."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            live()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def _ends_by_signal(live: Callable[[], object]) -> bool:
    child = started_child(live)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), f"the child ended with {status}"
    return status != 0


def contents(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table by its table, without times and processes, ids as places in their order."""
    tables = [table for table in Base.metadata.sorted_tables if table.name not in _OF_PROCESSES]
    places = {table.name: _places(store.engine, table) for table in tables if "id" in table.columns}
    return {table.name: _rows(store.engine, table, places) for table in tables}


def _places(engine: Engine, table: Table) -> dict[int, int]:
    with engine.connect() as connection:
        found = connection.scalars(select(table.c.id).order_by(table.c.id)).all()
    return {number: place for place, number in enumerate(found, 1)}


def _rows(engine: Engine, table: Table, places: dict[str, dict[int, int]]) -> list[tuple[Any, ...]]:
    columns = [column for column in table.columns if column.name not in _OF_TIME and not _is_time(column)]
    with engine.connect() as connection:
        read = connection.execute(select(*columns)).all()
    targets = [_target(column) for column in columns]
    rows = [
        tuple(
            (column.name, _comparable(value, places, target))
            for column, target, value in zip(columns, targets, row, strict=True)
        )
        for row in read
    ]
    return sorted(rows, key=repr)


def _comparable(value: Any, places: dict[str, dict[int, int]], target: str | None = None) -> Any:  # noqa: ANN401
    """The place of an id among the ids of its table, a text without its times, and any other value itself.

    A database that rolled a transaction back leaves its ids out: texts and packed points hold places too.
    """
    if target in places and value is not None:
        return places[target][value]
    if isinstance(value, str):
        named = _NAMED_ID.sub(lambda named: f"{named[1]} {places[named[1]].get(int(named[2]))}", value)
        return _TIME.sub("(time)", named)
    if target == "points" and value is not None:
        return [(places["run"].get(run, run), *point) for run, *point in _POINT.iter_unpack(value)]
    if isinstance(value, dict):
        return {
            key: _comparable(one, places, "run" if key.endswith(_OF_RUN) else None)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [_comparable(one, places) for one in value]
    return value


def _is_time(column: Any) -> bool:  # noqa: ANN401
    return isinstance(getattr(column.type, "impl", column.type), DateTime)


def _target(column: Any) -> str | None:  # noqa: ANN401
    """The table whose ids a column holds; `points` for a column of packed points of runs."""
    if column.name in ("points", "older"):
        return "points"
    if column.name == "id":
        return str(column.table.name)
    return next((str(key.column.table.name) for key in column.foreign_keys if key.column.name == "id"), None)


def differences(found: Store, expected: dict[str, list[tuple[Any, ...]]]) -> list[str]:
    """The rows that only one of the two has."""
    lines = []
    for table, rows in contents(found).items():
        for sign, some, others in (("+", rows, expected[table]), ("-", expected[table], rows)):
            left = list(others)
            for row in some:
                if row in left:
                    left.remove(row)
                else:
                    lines.append(f"{sign} {table}: {dict(row)}")
    return lines
