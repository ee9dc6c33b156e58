"""Reads of devices and runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, bindparam, case, func, select, union_all
from sqlalchemy.orm import Session

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
            DeviceRow(
                **{name: getattr(device, name) for name in _DEVICE_COLUMNS},
                runs=runs or 0,
                newest_run_id=newest,
                newest_started_at=started_at,
            )
            for device, runs, newest, started_at in session.execute(query)
        ]


_DEVICE_COLUMNS = [field.name for field in fields(DeviceRow) if field.name in Device.__table__.columns]


def find_device(store: Store, spec: str | None) -> DeviceRow:
    """The device that is meant: UUID, unique prefix of one, model name or a part of it, `cpu`.

    None is right where there is just one. In model names `_`, space and case are equal.

    Raises:
        UsageError: none or several are meant; the message lists what there is.
    """
    known = devices(store)
    if not known:
        raise UsageError("the store holds no device yet; run `kswatch nightly` or `kswatch import FILE`")
    if spec is None:
        found, asked = known, "several devices are stored"
    else:
        found, asked = _meant(known, spec), f"device {spec!r} is ambiguous"
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{device.uuid} ({device.model})" for device in found or known)
    if found:
        raise UsageError(f"{asked}; name one with --device: {listed}")
    raise UsageError(f"no device {spec!r} in the store; there is: {listed}")


def devices_meant(store: Store, spec: str) -> list[DeviceRow]:
    """The devices that `find_device` would choose from; empty where none is meant."""
    return _meant(devices(store), spec)


def _meant(known: Sequence[DeviceRow], spec: str) -> list[DeviceRow]:
    wanted = _folded(spec)
    if wanted.startswith("sim:"):  # as it is named where it is measured; its UUID has no options
        spec = wanted = wanted.partition("?")[0].replace(":", "-")
    ways = (
        [device for device in known if device.uuid == spec],
        [device for device in known if _folded(device.model) == wanted],
        [device for device in known if device.kind == wanted],
        [device for device in known if _folded(device.uuid).startswith(wanted)],
        [device for device in known if wanted and wanted in _folded(device.model)],
    )
    return next((found for found in ways if found), [])


def _folded(name: str) -> str:
    return name.replace("_", " ").strip().lower()


def run_filters(
    device_id: int | None,
    kinds: Collection[str] | None,
    origins: Collection[str] | None,
    excluded: bool = False,
) -> list[ColumnElement[bool]]:
    """Conditions on `run`; None means all. Excluded runs are left out unless asked for."""
    conditions: list[ColumnElement[bool]] = [] if excluded else [Run.excluded.is_(False)]
    if device_id is not None:
        conditions.append(Run.device_id == device_id)
    if kinds is not None:
        conditions.append(Run.kind.in_(kinds))
    if origins is not None:
        conditions.append(Run.origin.in_(origins))
    return conditions


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
    """Runs, the newest first, excluded ones too unless they are not wanted."""
    query = _RUNS.where(*run_filters(device_id, kinds, origins, excluded))
    if states is not None:
        query = query.where(_STATE_NOW.in_(states))
    if suite is not None:
        query = query.where(Run.suite == suite)
    with store.session() as session:
        return _run_rows(session, query.order_by(Run.id.desc()).limit(limit))


class Nights(NamedTuple):
    """Which runs of a device make one history: those of a suite, of these kinds (None: all) and origin."""

    device_id: int
    kinds: tuple[str, ...] | None
    origin: str
    suite: str


def ended_runs(store: Store, wanted: Sequence[Nights], limit: int) -> list[list[RunRow]]:
    """The last ended runs of each history, excluded ones left out, the oldest first, in one query."""
    of_each = [select(_ended(one, limit).subquery().c.id) for one in wanted]
    ids = union_all(*of_each) if of_each else [None]
    with store.session() as session:
        rows = _run_rows(session, _RUNS.where(Run.id.in_(ids)).order_by(Run.id))
    return [[row for row in rows if _belongs(row, one)] for one in wanted]


def ended_run_ids(store: Store, wanted: Sequence[Nights], limit: int) -> list[list[int]]:
    """The ids of the same runs."""
    with store.session() as session:
        return [list(session.scalars(_ended(one, limit)))[::-1] for one in wanted]


def _ended(one: Nights, limit: int) -> Select[int]:
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


def _belongs(row: RunRow, to: Nights) -> bool:
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
"""`interrupted` for a run that says `running` though the lease of its device ran out: it was killed."""

_RUN_COLUMNS = [
    field.name for field in fields(RunRow) if field.name in Run.__table__.columns and field.name != "state"
]
_REVISION_COLUMNS = [field.name for field in fields(RevisionRecord)]
_RUNS = (
    select(*(getattr(Run, name) for name in _RUN_COLUMNS))
    .add_columns(
        _STATE_NOW.label("state"), Device.uuid.label("device_uuid"), Device.model.label("device_model")
    )
    .add_columns(Run.revision_id, *(getattr(Revision, name) for name in _REVISION_COLUMNS))
    .join(Device, Device.id == Run.device_id)
    .outerjoin(Revision, Revision.id == Run.revision_id)
    .outerjoin(Lease, Lease.device_uuid == Device.uuid)
)
"""Columns, not objects, and built once: a page reads hundreds of runs, which share a few environments."""

_OWN_COLUMNS = (*_RUN_COLUMNS, "state", "device_uuid", "device_model")


def _run_rows(session: Session, query: Select) -> list[RunRow]:
    found = session.execute(query).all()
    environments = _environments(session, {row.environment_id for row in found})
    rows = []
    for row in found:
        values = dict(zip(_OWN_COLUMNS, row, strict=False))
        known, *revision = row[len(_OWN_COLUMNS) :]
        # a run under way has not counted yet
        values["by_status"] = row.by_status or count_outcomes(session, row.id)[0]
        rows.append(
            RunRow(
                **values,
                environment=environments[row.environment_id],
                revision=None if known is None else RevisionRecord(*revision),
            )
        )
    return rows


_ENVIRONMENTS = select(
    Environment.id, *(getattr(Environment, field.name) for field in fields(EnvironmentRecord))
)


def _environments(session: Session, ids: Collection[int]) -> dict[int, EnvironmentRecord]:
    found = session.execute(_ENVIRONMENTS.where(Environment.id.in_(ids)))
    return {id_: EnvironmentRecord(*values) for id_, *values in found}


def _values(record: Any, row: object) -> Any:  # noqa: ANN401  (a record of the class that is given)
    return record(**{field.name: getattr(row, field.name) for field in fields(record)})


def run_events(store: Store, run_id: int | None = None) -> list[RunEventRow]:
    """What people said of this run, or of any, the oldest first."""
    query = select(RunEvent).order_by(RunEvent.id)
    if run_id is not None:
        query = query.where(RunEvent.run_id == run_id)
    with store.session() as session:
        return [_values(RunEventRow, event) for event in session.scalars(query)]


def environment_changes(store: Store, before_run_id: int, after_run_id: int) -> list[EnvironmentChange]:
    """What differs between the environments of two runs, such as the driver."""
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
