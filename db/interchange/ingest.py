"""Recording the runs and rows of a file of any form, each at most once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter

from sqlalchemy import select
from sqlalchemy.orm import Session

from kswatch.db.backend.bulk_insert import insert_rows
from kswatch.db.backend.mapping import PROBLEM_COLUMNS, key_first
from kswatch.db.coordination.run_log import LogLine
from kswatch.db.queries.compiled_code import ResourceRow
from kswatch.db.queries.rows import EventRecord
from kswatch.db.records import (
    CanaryRecord,
    MeasurementRecord,
    PredictionRecord,
    ProblemKey,
    RunRecord,
    RunState,
)
from kswatch.db.schema.tables import (
    Canary,
    Cell,
    Device,
    Measurement,
    Problem,
    Resource,
    Run,
    RunEvent,
    RunLog,
)
from kswatch.db.store import Store
from kswatch.db.writes import measurements as recording
from kswatch.db.writes import runs as run_writing
from kswatch.db.writes.measurements import PlacedCell, RunFacts
from kswatch.db.writes.series_tails import write_tails


@dataclass(frozen=True)
class Rejection:
    """A row that was not recorded, with the reason."""

    line: int
    reason: str


@dataclass(frozen=True)
class RunHeader:
    """A run as a file describes it."""

    record: RunRecord
    identity: str | None
    """None for published data, which has no runs: its new rows become a new run."""
    state: RunState = "finished"
    finished_at: datetime | None = None
    seconds: float | None = None
    harness_seconds: float | None = None
    excluded: bool = False
    canaries: tuple[CanaryRecord, ...] = ()
    predictions: tuple[PredictionRecord, ...] = ()
    events: tuple[EventRecord, ...] = ()
    log: tuple[LogLine, ...] = ()
    resources: tuple[ResourceRow, ...] = ()
    """Resources of the machine code that the run's cells ran."""


@dataclass(frozen=True)
class FileRow:
    """One row of a file, with its measurements."""

    line: int
    records: tuple[MeasurementRecord, ...]


MOST_REJECTIONS = 10_000
"""Rejected rows that are kept with their reason."""


@dataclass
class ImportResult:
    """Numbers of a file's rows by result: the contract of `kswatch import --json`."""

    recorded: int = 0
    implausible: int = 0
    duplicates: int = 0
    rejected: int = 0
    rejections: list[Rejection] = field(default_factory=list)
    """The first rejected rows, at most `MOST_REJECTIONS`: a file of any size needs little memory."""
    run_ids: list[int] = field(default_factory=list)
    """Runs with a newly recorded measurement."""

    @property
    def read(self) -> int:
        """Number of all rows."""
        return self.recorded + self.implausible + self.rejected + self.duplicates

    def reject(self, line: int, reason: object) -> None:
        """Count the row that begins at this line as rejected."""
        self.rejected += 1
        if len(self.rejections) < MOST_REJECTIONS:
            self.rejections.append(Rejection(line, str(reason)))

    def count(self, new: Sequence[MeasurementRecord]) -> None:
        """Count one row by its measurements that are new to the store."""
        if not new:
            self.duplicates += 1
        elif any(record.status == "implausible" for record in new):
            self.implausible += 1
        else:
            self.recorded += 1


def record_content(store: Store, header: RunHeader, rows: Iterable[FileRow], tally: ImportResult) -> None:
    """Record a run's rows in one transaction, except those that the store has already.

    The rows are taken and written by the thousand, so that a run of any size needs little memory; of one with
    more than `MOST_CELLS` the rest is rejected.
    """
    with store.writing() as session:
        same = select(Run).where(Run.identity == header.identity)
        run = session.scalars(same).one_or_none() if header.identity else None
        known = _known(session, header)
        taken: Taken = {}
        writer = _RunWriter(store, session, header, run)
        for some in _parts_of(rows):
            writer.write(_new_records(known, taken, some, tally, any_value=header.identity is not None))
        taken.clear()  # room for what the end of the run needs
        known.clear()
        written = writer.finish()
        if written is not None and written not in tally.run_ids:
            tally.run_ids.append(written)


MOST_CELLS = 100_000
"""Of one run: its end compares them all, in a kilobyte of memory each. A night has some ten thousand."""
ROWS_AT_ONCE = 2_000
SAMPLES_AT_ONCE = 200_000
"""A row may have ten thousand samples, of 32 bytes each in memory."""


def _parts_of(rows: Iterable[FileRow]) -> Iterator[list[FileRow]]:
    """The rows in lists of so many rows, or of fewer where these have many samples."""
    some: list[FileRow] = []
    samples = 0
    for row in rows:
        some.append(row)
        samples += sum(len(record.samples_ms) for record in row.records)
        if len(some) >= ROWS_AT_ONCE or samples >= SAMPLES_AT_ONCE:
            yield some
            some, samples = [], 0
    if some:
        yield some


MeasurementKey = tuple[ProblemKey, str, str]
"""(problem, implementation, mode)."""
_SIGNATURE = ("status", "latency_ms", "energy_mj", "energy_products", "sample_count")
"""Fields in which two rows of one cell must agree to be the same row."""
_signature = attrgetter(*_SIGNATURE)


def _known(session: Session, header: RunHeader) -> set[int]:
    """Hashes of the run's stored cells; for published data of the device's imported cells, with values."""
    query = (
        select(*PROBLEM_COLUMNS, Cell.implementation, Measurement.mode)
        .add_columns(*(getattr(Measurement, name) for name in _SIGNATURE))
        .join(Cell, Cell.id == Measurement.cell_id)
        .join(Problem, Problem.id == Cell.problem_id)
        .join(Run, Run.id == Measurement.run_id)
    )
    if header.identity is not None:
        query = query.where(Run.identity == header.identity)
    else:
        query = query.join(Device, Device.id == Run.device_id)
        query = query.where(Run.kind == "import", Device.uuid == header.record.device.uuid)
    known = set()
    for row in session.execute(query.execution_options(yield_per=ROWS_AT_ONCE)):
        problem, implementation, mode, *values = key_first(row)
        key = (problem, implementation, mode)
        known.add(hash(key) if header.identity is not None else hash((key, tuple(values))))
    return known


Taken = dict[int, tuple[int, int]]
"""By the hash of a cell that the file has given: the line, and the hash of its values."""


def _new_records(
    known: Set[int],
    taken: Taken,
    rows: Iterable[FileRow],
    tally: ImportResult,
    any_value: bool,
) -> list[MeasurementRecord]:
    """The records that the store lacks; counts the result of each row, and adds it to those taken.

    With `any_value` a cell that the run already has is the same row whatever its values.
    """
    records = []
    for row in rows:
        if fault := _clash(row, taken) or _surplus(row, taken):
            tally.reject(row.line, fault)
            continue
        new = []
        for record in row.records:
            key, signature = _key(record), _signature(record)
            stored = hash(key if any_value else (key, signature)) in known
            if hash(key) not in taken and not stored:
                new.append(record)
            taken.setdefault(hash(key), (row.line, hash(signature)))
        tally.count(new)
        records += new
    return records


def _clash(row: FileRow, taken: Taken) -> str | None:
    """The conflict of a row with an earlier one that has another value for the same cell."""
    for record in row.records:
        line, signature = taken.get(hash(_key(record)), (0, None))
        if line and signature != hash(_signature(record)):
            return f"line {line} gives the same cell another value; keep one of them"
    return None


def _surplus(row: FileRow, taken: Taken) -> str | None:
    """The reason to reject a row that its run has no room for."""
    if len(taken) < MOST_CELLS or all(hash(_key(record)) in taken for record in row.records):
        return None
    return f"its run has more than {MOST_CELLS:,} cells; import it as several runs"


def _key(record: MeasurementRecord) -> MeasurementKey:
    return record.problem, record.implementation, record.mode


class _RunWriter:
    """Writes the new rows of one run in the caller's transaction."""

    def __init__(self, store: Store, session: Session, header: RunHeader, run: Run | None) -> None:
        self._store, self._session, self._header = store, session, header
        self._run, self._is_new = run, run is None
        self._parts: list[tuple[list[int], list[MeasurementRecord]]] = []
        """Cells and records of the only part; without records where there are several."""

    def write(self, records: list[MeasurementRecord]) -> None:
        """Write measurements that the run lacks."""
        if not records:
            return
        self._run = self._run or run_writing.begin(self._session, self._header.record, self._header.identity)
        connection = self._session.connection()
        facts = RunFacts(self._run.id, self._run.device_id, self._run.kind)
        cells = recording.write_measurements(
            connection, self._store.identifiers, facts, records, replace=not self._is_new
        )
        if facts.has_tails:
            points = recording.points_of(self._run.id, cells, records)
            write_tails(connection, self._run.device_id, self._run.id, points)
        self._parts = [(cells, records)] if not self._parts else [([], []), ([], [])]

    def finish(self) -> int | None:
        """Write all of the run but its measurements, and return its id; None where nothing was new."""
        if not self._parts and (not self._is_new or self._header.identity is None):
            return None
        header, session = self._header, self._session
        run = self._run or run_writing.begin(session, header.record, header.identity)
        connection = session.connection()
        insert_rows(
            session, Canary, [{"run_id": run.id} | vars(one) for one in header.canaries], replace=True
        )
        recording.write_predictions(connection, self._store.identifiers, run.id, header.predictions)
        insert_rows(session, Resource, [row._asdict() for row in header.resources], replace=False)
        for model, entries in ((RunEvent, header.events), (RunLog, header.log)):
            if not session.scalar(select(model.id).where(model.run_id == run.id).limit(1)):
                session.add_all(model(run_id=run.id, **vars(one)) for one in entries)
        run.excluded = header.excluded
        ended = header.finished_at or header.record.started_at
        run_writing.finish(
            session, run, header.state, header.seconds, header.harness_seconds, ended, self._placed()
        )
        run.finished_at = header.finished_at
        return run.id

    def _placed(self) -> Iterator[PlacedCell] | None:
        """All measurements of the run, where they are still at hand."""
        if not self._is_new or len(self._parts) > 1:
            return None
        cells, records = self._parts[0] if self._parts else ([], [])
        return recording.placed(self._session.connection(), self._store.identifiers, cells, records)
