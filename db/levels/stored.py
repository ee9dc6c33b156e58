"""Levels of series in the store: recording them, and reading them back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, delete, func, select, tuple_, update

from kswatch.db.backend.bulk_insert import insert_rows
from kswatch.db.records import ProblemKey
from kswatch.db.schema.tables import Cell, Problem, SeriesLevel
from kswatch.db.store import Store

SeriesKey = tuple[int, str]
"""Cell id and metric."""


class StoredLevel(NamedTuple):
    """One level of one series; it ends where the series' next one begins."""

    cell_id: int
    metric: str
    first_run_id: int
    last_good_run_id: int | None
    """The last night of the level before; None for the first level."""
    median: float
    median_low: float
    median_high: float
    noise: float

    @property
    def key(self) -> SeriesKey:
        """The series: cell id and metric."""
        return (self.cell_id, self.metric)


class FoundLevels(NamedTuple):
    """The levels of one series that begin at or after a run; earlier ones stay as they were found."""

    cell_id: int
    metric: str
    since_run_id: int
    levels: Sequence[StoredLevel]


_TABLE = SeriesLevel.__table__
_COLUMNS = [_TABLE.c[name] for name in StoredLevel._fields]
_SERIES = (
    _TABLE.c.device_id == bindparam("device"),
    _TABLE.c.cell_id == bindparam("cell"),
    _TABLE.c.metric == bindparam("of_metric"),
)


def record_levels(store: Store, device_id: int, found_run_id: int, found: Sequence[FoundLevels]) -> None:
    """Replace the levels of these series, which were looked for on a night."""
    if not found:
        return
    series = [{"device": device_id, "cell": one.cell_id, "of_metric": one.metric} for one in found]
    since = [given | {"since": one.since_run_id} for given, one in zip(series, found, strict=True)]
    rows = [
        level._asdict() | {"device_id": device_id, "found_run_id": found_run_id}
        for one in found
        for level in one.levels
    ]
    with store.writing() as session:
        connection = session.connection()
        connection.execute(
            delete(SeriesLevel).where(*_SERIES, _TABLE.c.first_run_id >= bindparam("since")), since
        )
        insert_rows(session, SeriesLevel, rows, replace=True)
        connection.execute(update(SeriesLevel).where(*_SERIES).values(found_run_id=found_run_id), series)


def last_found(store: Store, device_id: int) -> dict[SeriesKey, int]:
    """The night on which the levels of each series were last looked for; no entry where they never were."""
    query = select(_TABLE.c.cell_id, _TABLE.c.metric, func.max(_TABLE.c.found_run_id))
    query = query.where(_TABLE.c.device_id == device_id).group_by(_TABLE.c.cell_id, _TABLE.c.metric)
    with store.session() as session:
        return {(cell_id, metric): run_id for cell_id, metric, run_id in session.execute(query)}


def levels_with_changes(store: Store, device_id: int, since_run_id: int) -> list[StoredLevel]:
    """All levels of the series in which a later one than the first began at or after a run."""
    changed = select(_TABLE.c.cell_id, _TABLE.c.metric).where(
        _TABLE.c.device_id == device_id,
        _TABLE.c.last_good_run_id.is_not(None),
        _TABLE.c.first_run_id >= since_run_id,
    )
    query = select(*_COLUMNS).where(
        _TABLE.c.device_id == device_id, tuple_(_TABLE.c.cell_id, _TABLE.c.metric).in_(changed)
    )
    return store.read(query.order_by(*_COLUMNS[:3]), StoredLevel)


class ProblemLevel(NamedTuple):
    """One level of a series of one problem."""

    implementation: str
    metric: str
    first_run_id: int
    last_good_run_id: int | None
    median: float
    median_low: float
    median_high: float


def problem_levels(
    store: Store, device_id: int, problem: ProblemKey, metrics: Collection[str]
) -> list[ProblemLevel]:
    """The levels of a problem's series in these metrics, the oldest of each series first."""
    names = ProblemLevel._fields[1:]
    query = (
        select(Cell.implementation, *(_TABLE.c[name] for name in names))
        .join(Cell, Cell.id == _TABLE.c.cell_id)
        .join(Problem, Problem.id == Cell.problem_id)
        .where(_TABLE.c.device_id == device_id, _TABLE.c.metric.in_(metrics))
        .where(*(getattr(Problem, name) == getattr(problem, name) for name in problem.__dataclass_fields__))
        .order_by(Cell.implementation, _TABLE.c.metric, _TABLE.c.first_run_id)
    )
    return store.read(query, ProblemLevel)
