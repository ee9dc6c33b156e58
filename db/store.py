"""The store: the only door through which measurements are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import chain
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Executable, delete, select, update
from sqlalchemy.orm import Session

from kswatch.db.backend.bulk_insert import insert_rows
from kswatch.db.backend.checked_session import CheckedSession
from kswatch.db.backend.engine import WRITES, open_engine
from kswatch.db.backend.errors import translate_db_errors
from kswatch.db.backend.mapping import PROBLEM_COLUMNS, field_names, record_of
from kswatch.db.backend.retry import ConnectRetry
from kswatch.db.backend.store_file import require_same_file
from kswatch.db.backend.store_url import shown
from kswatch.db.records import (
    CanaryRecord,
    DeviceRecord,
    EnvironmentRecord,
    HeuristicVerdictRecord,
    MeasurementRecord,
    PredictionRecord,
    ProblemKey,
    RevisionRecord,
    RunRecord,
    RunState,
    VerdictRecord,
)
from kswatch.db.schema.tables import (
    Canary,
    Cell,
    Device,
    Environment,
    HeuristicVerdict,
    Measurement,
    Problem,
    Revision,
    Run,
    Verdict,
)
from kswatch.db.writes import heuristic_scores, speed_of_light
from kswatch.db.writes import measurements as recording
from kswatch.db.writes import runs as run_writing
from kswatch.db.writes.baseline_sets import RunBaselines, rivals_of_run
from kswatch.db.writes.identifiers import IdentifierCache
from kswatch.db.writes.measurements import RunFacts
from kswatch.db.writes.runs import get_run
from kswatch.db.writes.series_tails import write_tails
from kswatch.db.writes.speed_of_light import SpeedOfLightRow

Row = TypeVar("Row")


class Store:
    """An open store. Any number of processes may open it; threads that write must not share one `Store`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writer = engine.execution_options(**WRITES)
        self.identifiers = IdentifierCache()
        self._facts: dict[int, RunFacts] = {}
        self._baselines: dict[int, RunBaselines] = {}
        self._guard: Callable[[Session], None] | None = None
        self._retry = ConnectRetry(0)

    @classmethod
    def open(cls, url: str, create: bool = True) -> Store:
        """The store at this URL, its schema upgraded to the newest.

        Raises:
            ConfigurationError: the URL is not one, or its driver is not installed.
            StoreError: it does not exist (and `create` is false), is of a newer version, is damaged,
                cannot be written, or lies on a network file system.
        """
        return cls(open_engine(url, create))

    @property
    def name(self) -> str:
        """The store's display name: a path, or a URL without its password."""
        return shown(self.engine.url)

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session for reading: one consistent view, rolled back at the end unless committed."""
        with self._connected(self.engine) as session:
            yield session

    def read(self, query: Executable, row: Callable[..., Row]) -> list[Row]:
        """A `row` made of the values of each row of the query."""
        with self.session() as session:
            return [row(*values) for values in session.execute(query)]

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session that is one short transaction: it waits for its turn and commits at the end.

        Raises:
            StoreError: by a file that was deleted or replaced meanwhile, before or after the commit.
        """
        try:
            require_same_file(self.engine)
            with self._connected(self._writer) as session, session.begin():
                if self._guard:
                    self._guard(session)
                yield session
            require_same_file(self.engine)
        except BaseException:
            self.identifiers.forget()
            raise

    @contextmanager
    def _connected(self, engine: Engine) -> Iterator[Session]:
        with (
            self._retry.connect(engine) as connection,
            translate_db_errors(engine.url),
            CheckedSession(connection) as session,
        ):
            yield session

    @contextmanager
    def retrying(self, seconds: float) -> Iterator[None]:
        """Inside, a transaction waits up to `seconds` for a server that does not answer before it fails."""
        former, self._retry = self._retry, ConnectRetry(seconds)
        try:
            yield
        finally:
            self._retry = former

    @contextmanager
    def guarded(self, guard: Callable[[Session], None]) -> Iterator[None]:
        """Inside, every transaction that writes calls the guard first, which may refuse it by raising."""
        former, self._guard = self._guard, guard
        try:
            yield
        finally:
            self._guard = former

    def begin_run(self, record: RunRecord) -> int:
        """Record that a run began, and return its id."""
        with self.writing() as session:
            return run_writing.begin(session, record).id

    def record_problem(
        self,
        run_id: int,
        records: Sequence[MeasurementRecord],
        seconds: float | None = None,
        harness_seconds: float | None = None,
    ) -> None:
        """Record one problem's measurements (or several problems') in one transaction.

        Its comparisons and series tails are written with it, and the time of the run so far where it is
        given, for a run that is killed. A measurement of a cell and mode that the run already has is
        replaced, so that recording twice changes nothing.
        """
        if not records:
            return
        with self.writing() as session:
            connection = session.connection()
            run = self._run_facts(session, run_id)
            baselines = self._baselines_with(connection, run, records)
            cells = recording.write_measurements(connection, self.identifiers, run, records)
            problems = self.identifiers.problem_ids(connection, (record.problem for record in records))
            stored = recording.stored(connection, run_id, problems.values())
            ratios = recording.write_comparisons(connection, run_id, baselines.sets(), stored)
            if seconds is not None:
                times = {"seconds": seconds, "harness_seconds": harness_seconds}
                session.execute(update(Run).where(Run.id == run_id).values(times))
            if run.has_tails:
                points = recording.points_of(run_id, cells, records)
                write_tails(connection, run.device_id, run_id, chain(points, ratios))

    def _run_facts(self, session: Session, run_id: int) -> RunFacts:
        if run_id not in self._facts:
            run = get_run(session, run_id)
            self._facts[run_id] = RunFacts(run.id, run.device_id, run.kind)
        return self._facts[run_id]

    def _baselines_with(
        self, connection: Connection, run: RunFacts, records: Sequence[MeasurementRecord]
    ) -> RunBaselines:
        if run.run_id not in self._baselines:
            held = recording.held_implementations(connection, run.device_id, run.run_id)
            self._baselines[run.run_id] = RunBaselines(held, rivals_of_run(connection, run.run_id))
        self._baselines[run.run_id].add(records)
        return self._baselines[run.run_id]

    def record_canaries(self, run_id: int, records: Sequence[CanaryRecord]) -> None:
        """Record canary readings; one at the same position replaces the former one."""
        with self.writing() as session:
            insert_rows(session, Canary, [{"run_id": run_id} | asdict(one) for one in records], replace=True)

    def record_predictions(self, run_id: int, records: Sequence[PredictionRecord]) -> None:
        """Record the heuristics' predictions for the run's problems; a run that ended is scored at once."""
        with self.writing() as session:
            recording.write_predictions(session.connection(), self.identifiers, run_id, records)
            if get_run(session, run_id).state != "running":
                heuristic_scores.write(session, run_id)

    def record_verdicts(self, run_id: int, records: Sequence[VerdictRecord]) -> None:
        """Record the verdicts on the run's series; judging the run again replaces them."""
        with self.writing() as session:
            keys = [(record.problem, record.implementation) for record in records]
            cells = self.identifiers.cell_ids(session.connection(), keys)
            rows = [
                {name: getattr(record, name) for name in _VERDICT_FIELDS}
                | {"run_id": run_id, "cell_id": cell_id}
                for cell_id, record in zip(cells, records, strict=True)
            ]
            insert_rows(session, Verdict, rows, replace=True)

    def record_heuristic_verdicts(self, run_id: int, records: Sequence[HeuristicVerdictRecord]) -> None:
        """Record the verdicts on the run's heuristics; judging the run again replaces them."""
        with self.writing() as session:
            session.execute(delete(HeuristicVerdict).where(HeuristicVerdict.run_id == run_id))
            insert_rows(session, HeuristicVerdict, [asdict(one) for one in records], replace=True)

    def record_speed_of_light_verdicts(self, rows: Iterable[SpeedOfLightRow]) -> None:
        """Record the verdicts on a run's speed of light; judging the run again replaces them."""
        with self.writing() as session:
            speed_of_light.write_verdicts(session, rows)

    def finish_run(
        self,
        run_id: int,
        state: RunState = "finished",
        seconds: float | None = None,
        harness_seconds: float | None = None,
        finished_at: datetime | None = None,
    ) -> None:
        """Record how the run ended, and write its summary and scores."""
        with self.writing() as session:
            run = get_run(session, run_id)
            at = finished_at or datetime.now(UTC)
            run_writing.finish(session, run, state, seconds, harness_seconds, at)

    def reopen_run(self, run_id: int) -> None:
        """Mark a run that is resumed as running."""
        with self.writing() as session:
            run = get_run(session, run_id)
            run.state, run.finished_at, run.by_status = "running", None, None

    def run_problems(self, run_id: int) -> list[ProblemKey]:
        """The sorted problems that the run has a measurement of, whatever its status."""
        cells = self.read(_CELLS.where(Measurement.run_id == run_id), _cell)
        return sorted({problem for problem, _ in cells})

    def done_cells(self, run_id: int) -> set[tuple[ProblemKey, str]]:
        """Cells that a resumed run need not repeat: those with a measurement that was not skipped."""
        done = (Measurement.run_id == run_id, Measurement.status != "skipped")
        return set(self.read(_CELLS.where(*done), _cell))

    def resumable_run(self, device_uuid: str | None = None) -> int | None:
        """The id of the newest unfinished nightly or ad-hoc run, on this device or on any.

        Runs of other kinds are started anew by the gate, bisection or confirmation that needs them.
        """
        query = select(Run.id).where(
            Run.state.in_(("running", "interrupted")), Run.kind.in_(("nightly", "ad_hoc"))
        )
        if device_uuid is not None:
            query = query.join(Device, Device.id == Run.device_id).where(Device.uuid == device_uuid)
        with self.session() as session:
            return session.scalars(query.order_by(Run.id.desc()).limit(1)).one_or_none()

    def run_plan(self, run_id: int) -> RunRecord:
        """The run's record as it began, enough to plan the same cells again."""
        with self.session() as session:
            run = get_run(session, run_id)
            revision = session.get(Revision, run.revision_id) if run.revision_id else None
            return record_of(
                RunRecord,
                run,
                device=record_of(DeviceRecord, session.get_one(Device, run.device_id)),
                environment=record_of(EnvironmentRecord, session.get_one(Environment, run.environment_id)),
                revision=record_of(RevisionRecord, revision) if revision else None,
            )


_CELLS = (
    select(Cell.implementation, *PROBLEM_COLUMNS)
    .join(Problem, Problem.id == Cell.problem_id)
    .join(Measurement, Measurement.cell_id == Cell.id)
)


def _cell(implementation: str, *problem: Any) -> tuple[ProblemKey, str]:  # noqa: ANN401
    return ProblemKey(*problem), implementation


_VERDICT_FIELDS = [name for name in field_names(VerdictRecord) if name not in ("problem", "implementation")]
