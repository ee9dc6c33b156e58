"""The content of a run as records, for export."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.orm import Session

from kswatch.db.backend.codecs import unpack_samples
from kswatch.db.backend.mapping import PROBLEM_COLUMNS, columns_of, key_first
from kswatch.db.coordination.run_log import LogLine
from kswatch.db.interchange.ingest import RunHeader
from kswatch.db.queries.compiled_code import ResourceRow
from kswatch.db.queries.rows import EventRecord
from kswatch.db.records import (
    CanaryRecord,
    CounterReading,
    MeasurementRecord,
    PredictionRecord,
    ProblemKey,
    RunState,
)
from kswatch.db.schema.tables import (
    Canary,
    Cell,
    Counter,
    Measurement,
    Prediction,
    Problem,
    Resource,
    Run,
    RunEvent,
    RunLog,
    Sample,
)
from kswatch.db.store import Store
from kswatch.db.writes.measurements import PLAIN_COLUMNS


def run_content(store: Store, run_id: int) -> tuple[RunHeader, list[MeasurementRecord]]:
    """The run and its measurements, without its request, which belongs to this store."""
    record = replace(store.run_plan(run_id), request_id=None)
    ran = select(Measurement.code_hash).where(Measurement.run_id == run_id)
    with store.session() as session:
        run = session.get_one(Run, run_id)
        header = RunHeader(
            record=record,
            identity=run.identity,
            state=cast(RunState, run.state),
            finished_at=run.finished_at,
            seconds=run.seconds,
            harness_seconds=run.harness_seconds,
            excluded=run.excluded,
            canaries=tuple(_rows_as(session, CanaryRecord, Canary, Canary.run_id == run_id)),
            predictions=tuple(_predictions(session, run_id)),
            events=tuple(_rows_as(session, EventRecord, RunEvent, RunEvent.run_id == run_id)),
            log=tuple(_rows_as(session, LogLine, RunLog, RunLog.run_id == run_id)),
            resources=tuple(_rows_as(session, ResourceRow, Resource, Resource.code_hash.in_(ran))),
        )
        return header, _measurements(session, run_id)


def _rows_as(session: Session, record: Any, model: Any, which: ColumnElement[bool]) -> list[Any]:  # noqa: ANN401
    query = select(*columns_of(record, model)).where(which)
    return [record(*row) for row in session.execute(query.order_by(*model.__table__.primary_key))]


def _predictions(session: Session, run_id: int) -> list[PredictionRecord]:
    query = (
        select(*PROBLEM_COLUMNS, *columns_of(PredictionRecord, Prediction))
        .join(Problem, Problem.id == Prediction.problem_id)
        .where(Prediction.run_id == run_id)
        .order_by(*Prediction.__table__.primary_key)
    )
    return [PredictionRecord(*key_first(row)) for row in session.execute(query)]


def _counters(session: Session, run_id: int) -> dict[int, tuple[CounterReading, ...]]:
    """The counters of each cell that has any."""
    query = select(Counter.cell_id, *columns_of(CounterReading, Counter)).where(Counter.run_id == run_id)
    by_cell: dict[int, tuple[CounterReading, ...]] = defaultdict(tuple)
    for cell_id, *values in session.execute(query.order_by(Counter.cell_id, Counter.name)):
        by_cell[cell_id] += (CounterReading(*values),)
    return by_cell


def _measurements(session: Session, run_id: int) -> list[MeasurementRecord]:
    keys = zip(Sample.__table__.primary_key, Measurement.__table__.primary_key, strict=True)
    sample = and_(*(of_sample == of_measurement for of_sample, of_measurement in keys))
    columns = [getattr(Measurement, name) for name in PLAIN_COLUMNS]
    query = (
        select(Cell.id, *PROBLEM_COLUMNS, Cell.implementation, Measurement.flags, Sample.samples_ms, *columns)
        .join(Cell, Cell.id == Measurement.cell_id)
        .join(Problem, Problem.id == Cell.problem_id)
        .outerjoin(Sample, sample)
        .where(Measurement.run_id == run_id)
        .order_by(Measurement.cell_id, Measurement.mode)
    )
    counters = _counters(session, run_id)
    # counters belong to the cell: they are exported with its first mode
    return [_record(row._asdict(), counters.pop(row.id, ())) for row in session.execute(query)]


def _record(row: Mapping[str, Any], counters: tuple[CounterReading, ...]) -> MeasurementRecord:
    packed = row["samples_ms"]
    return MeasurementRecord(
        problem=ProblemKey(*(row[name] for name in ProblemKey.__dataclass_fields__)),
        implementation=row["implementation"],
        flags=tuple(row["flags"].split(",")) if row["flags"] else (),
        samples_ms=tuple(unpack_samples(packed)) if packed else (),
        counters=counters,
        **{name: row[name] for name in PLAIN_COLUMNS},
    )
