"""Reads of devices and runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Select, and_, bindparam, case, func, select, union_all
from sqlalchemy.orm import Session

from kswatch.db.backend.mapping import columns_of, matching, record_of
from kswatch.db.queries.rows import DeviceRow, EnvironmentChange, RunEventRow, RunRow
from kswatch.db.records import EnvironmentRecord, RevisionRecord
from kswatch.db.schema.tables import Device, Environment, Lease, Revision, Run, RunEvent
from kswatch.db.store import Store
from kswatch.db.writes.runs import count_outcomes
from kswatch.errors import UsageError

NIGHTLY: tuple[str, ...] = ("nightly",)
MEASURED: tuple[str, ...] = ("measured",)


def devices(store: Store) -> list[DeviceRow]:
    """Every device, the one with the newest run first."""
    counts = (
        select(Run.device_id, func.count().label("runs"), func.max(Run.id).label("newest"))
        .group_by(Run.device_id)
        .subquery()
    )
    query = (
        select(Device, counts.c.runs, counts.c.newest, Run.started_at)
        .outerjoin(counts, counts.c.device_id == Device.id)
        .outerjoin(Run, Run.id == counts.c.newest)
        .order_by(func.coalesce(counts.c.newest, 0).desc(), Device.id)
    )
    with store.session() as session:
        return [
            record_of(DeviceRow, device, runs=runs or 0, newest_run_id=newest, newest_started_at=started_at)
            for device, runs, newest, started_at in session.execute(query)
        ]


def find_device(store: Store, spec: str | None) -> DeviceRow:
    """The device with this UUID, unique UUID prefix, model name or part of it, or kind (`cpu`).

    None finds the only device, if there is just one. In model names `_`, space and case are equal.

    Raises:
        UsageError: none or several match; the message lists the devices.
    """
    known = devices(store)
    if not known:
        raise UsageError("the store holds no device yet; run `kswatch nightly` or `kswatch import FILE`")
    found = known if spec is None else _matching(known, spec)
    problem = "several devices are stored" if spec is None else f"device {spec!r} is ambiguous"
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{device.uuid} ({device.model})" for device in found or known)
    if found:
        raise UsageError(f"{problem}; name one with --device: {listed}")
    raise UsageError(f"no device {spec!r} in the store; there is: {listed}")


def matching_devices(store: Store, spec: str) -> list[DeviceRow]:
    """The devices that `find_device` would choose from; empty where none matches."""
    return _matching(devices(store), spec)


def _matching(known: Sequence[DeviceRow], spec: str) -> list[DeviceRow]:
    wanted = _folded(spec)
    if wanted.startswith("sim:"):  # a simulated device's spec; its UUID has no options
        spec = wanted = wanted.partition("?")[0].replace(":", "-")
    candidates = (
        [device for device in known if device.uuid == spec],
        [device for device in known if _folded(device.model) == wanted],
        [device for device in known if device.kind == wanted],
        [device for device in known if _folded(device.uuid).startswith(wanted)],
        [device for device in known if wanted and wanted in _folded(device.model)],
    )
    return next((found for found in candidates if found), [])


def _folded(name: str) -> str:
    return name.replace("_", " ").strip().lower()


def run_filters(
    device_id: int | None,
    kinds: Collection[str] | None,
    origins: Collection[str] | None,
    excluded: bool = False,
) -> list[ColumnElement[bool]]:
    """Conditions on `run`; None means all. Excluded runs are left out by default."""
    named = matching((Run.device_id, device_id), (Run.kind, kinds), (Run.origin, origins))
    return named if excluded else [Run.excluded.is_(False), *named]


def runs(
    store: Store,
    device_id: int | None = None,
    kinds: Collection[str] | None = None,
    origins: Collection[str] | None = None,
    states: Collection[str] | None = None,
    limit: int | None = 100,
    *,
    suite: str | None = None,
    excluded: bool = True,
) -> list[RunRow]:
    """Runs, the newest first, by default with the excluded ones."""
    which = (*run_filters(device_id, kinds, origins, excluded), *matching((Run.suite, suite)))
    query = _RUNS.where(*which, *matching((_STATE_NOW, states))).order_by(Run.id.desc())
    with store.session() as session:
        return _run_rows(session, query.limit(limit))


class HistoryFilter(NamedTuple):
    """The runs of a device that make one history: of one suite and origin, of these kinds (None: all)."""

    device_id: int
    kinds: tuple[str, ...] | None
    origin: str
    suite: str


def ended_runs(store: Store, wanted: Sequence[HistoryFilter], limit: int) -> list[list[RunRow]]:
    """The last ended runs of each history, excluded ones left out, the oldest first, in one query."""
    of_each = [select(_ended(one, limit).subquery().c.id) for one in wanted]
    ids = union_all(*of_each) if of_each else [None]
    with store.session() as session:
        rows = _run_rows(session, _RUNS.where(Run.id.in_(ids)).order_by(Run.id))
    return [[row for row in rows if _belongs(row, one)] for one in wanted]


def ended_run_ids(store: Store, wanted: Sequence[HistoryFilter], limit: int) -> list[list[int]]:
    """The ids of the same runs."""
    with store.session() as session:
        return [list(session.scalars(_ended(one, limit)))[::-1] for one in wanted]


def _ended(one: HistoryFilter, limit: int) -> Select[int]:
    """Ids of the last ended runs of a history, the newest first."""
    return (
        select(Run.id)
        .where(*run_filters(one.device_id, one.kinds, (one.origin,)))
        .where(Run.suite == one.suite, _STATE_NOW.in_(("finished", "interrupted")))
        .join(Device, Device.id == Run.device_id)
        .outerjoin(Lease, Lease.device_uuid == Device.uuid)
        .order_by(Run.id.desc())
        .limit(limit)
    )


def _belongs(row: RunRow, to: HistoryFilter) -> bool:
    same = (row.device_id, row.origin, row.suite) == (to.device_id, to.origin, to.suite)
    return same and (to.kinds is None or row.kind in to.kinds)


def run(store: Store, run_id: int) -> RunRow:
    """One run.

    Raises:
        UsageError: there is none with this id.
    """
    with store.session() as session:
        found = _run_rows(session, _RUNS.where(Run.id == run_id))
    if not found:
        raise UsageError(f"there is no run {run_id}; `kswatch runs` lists them")
    return found[0]


_NOW = bindparam("now", callable_=lambda: datetime.now(UTC), type_=Lease.expires_at.type)
_STATE_NOW = case((and_(Run.state == "running", Lease.expires_at < _NOW), "interrupted"), else_=Run.state)
"""`interrupted` for a running run whose device's lease expired: its process was killed."""

_RUN_COLUMNS = [column for column in columns_of(RunRow, Run) if column.key != "state"]
_RUNS = (
    select(*_RUN_COLUMNS)
    .add_columns(
        _STATE_NOW.label("state"), Device.uuid.label("device_uuid"), Device.model.label("device_model")
    )
    .add_columns(Run.revision_id, *columns_of(RevisionRecord, Revision))
    .join(Device, Device.id == Run.device_id)
    .outerjoin(Revision, Revision.id == Run.revision_id)
    .outerjoin(Lease, Lease.device_uuid == Device.uuid)
)
"""Columns rather than objects, built once: a page reads hundreds of runs that share a few environments."""

_OWN_COLUMNS = (*(column.key for column in _RUN_COLUMNS), "state", "device_uuid", "device_model")


def _run_rows(session: Session, query: Select) -> list[RunRow]:
    found = session.execute(query).all()
    used = session.execute(_ENVIRONMENTS.where(Environment.id.in_({row.environment_id for row in found})))
    environments = {id_: EnvironmentRecord(*values) for id_, *values in used}
    rows = []
    for row in found:
        values = dict(zip(_OWN_COLUMNS, row, strict=False))
        known, *revision = row[len(_OWN_COLUMNS) :]
        # the cells of a run in progress are not counted yet
        values["by_status"] = row.by_status or count_outcomes(session, row.id)[0]
        values["environment"] = environments[row.environment_id]
        values["revision"] = None if known is None else RevisionRecord(*revision)
        rows.append(RunRow(**values))
    return rows


_ENVIRONMENTS = select(Environment.id, *columns_of(EnvironmentRecord, Environment))


def run_events(store: Store, run_id: int | None = None) -> list[RunEventRow]:
    """The events of this run, or of all, the oldest first."""
    query = select(*columns_of(RunEventRow, RunEvent)).where(*matching((RunEvent.run_id, run_id)))
    return store.read(query.order_by(RunEvent.id), RunEventRow)


def environment_changes(store: Store, before_run_id: int, after_run_id: int) -> list[EnvironmentChange]:
    """The differences between the environments of two runs, such as the driver."""
    before = _flat(run(store, before_run_id).environment)
    after = _flat(run(store, after_run_id).environment)
    names = [*before, *(name for name in after if name not in before)]
    return [
        EnvironmentChange(name, before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    ]


def _flat(environment: EnvironmentRecord) -> dict[str, object]:
    values = dict(vars(environment))
    return values | values.pop("extra")
