"""The problems of one run, one after the other: each is measured in a child process and recorded at once.

Each problem is one transaction, so a run that is stopped or killed at any instant can be resumed
without repeating or losing a problem.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from kswatch.db.backend.errors import ConnectionLostError
from kswatch.db.coordination import run_events
from kswatch.db.queries import basic as queries
from kswatch.db.queries.baseline_sets import ForeignResult, foreign_results
from kswatch.db.queries.basic import RunRow
from kswatch.db.records import (
    RIVALS,
    CanaryPosition,
    MeasurementRecord,
    ProblemKey,
    RunState,
    is_foreign,
)
from kswatch.db.store import Store
from kswatch.errors import KswatchError
from kswatch.profiler.empty_records import empty_record
from kswatch.profiler.executors.base import Engine, MeasureTask, WorkerLostError
from kswatch.profiler.planning.budget import TimeBudget, as_text
from kswatch.profiler.planning.plan import Plan
from kswatch.profiler.planning.priority_order import WorkUnit, remaining
from kswatch.profiler.planning.time_caps import TimeCaps, shares
from kswatch.profiler.runs import predictions
from kswatch.profiler.runs.progress import Progress
from kswatch.profiler.settings import MeasureSettings
from kswatch.profiler.signals import Stopped

DoneCells = Collection[tuple[ProblemKey, str]]


@dataclass(frozen=True)
class RunResult:
    """The result of a run; `cells` and `seconds` include those of an earlier start."""

    run: int
    device: str
    cells: int
    by_status: dict[str, int]
    seconds: float
    state: str
    foreign: dict[str, ForeignResult] = field(default_factory=dict)
    """Of each implementation of another project."""

    @classmethod
    def of(cls, row: RunRow, foreign: dict[str, ForeignResult] | None = None) -> RunResult:
        """The result of a run that has ended, from its row in the store."""
        seconds = round(row.seconds or 0.0, 3)
        return cls(row.id, row.device_uuid, row.cells, row.by_status, seconds, row.state, foreign or {})


@dataclass(frozen=True)
class Spent:
    """The time that the earlier starts of a run took, up to the last problem that they recorded."""

    seconds: float = 0.0
    harness_seconds: float = 0.0
    """That part of it in which the device was idle."""


class ProblemLoop:
    """Measures the remaining problems of a run that has begun, and ends the run."""

    def __init__(
        self,
        store: Store,
        run_id: int,
        plan: Plan,
        engine: Engine,
        progress: Progress,
        settings: MeasureSettings,
        units: Sequence[WorkUnit],
    ) -> None:
        """Prepare a run that has begun in the store; nothing is measured or written yet.

        A suite with a time limit lowers the caps of `settings` where it must; `units` are the plan's.
        """
        self._store = store
        self._run_id = run_id
        self._plan = plan
        self._engine = engine
        self._progress = progress
        self._settings = settings
        self._units = units

    def conduct(self, budget: TimeBudget, done: DoneCells = (), before: Spent = Spent()) -> RunResult:  # noqa: B008
        """Measure the cells that are not done within the budget, and end the run in any case.

        Earlier starts of the run recorded the `done` cells, in the time `before`.
        """
        self._before, self._start_s = before, self._engine.now_s()
        state: RunState = "failed"
        try:
            self._measure(remaining(self._units, done), budget)
            state = "finished"
        except Stopped:
            state = "interrupted"
        except KeyboardInterrupt:
            state = "interrupted"
            raise
        except KswatchError as error:
            state = "interrupted"
            self._record_reason(error)
            raise
        finally:
            self._end(state)
        foreign = foreign_results(self._store, self._run_id)
        return RunResult.of(queries.run(self._store, self._run_id), foreign)

    def _spent(self) -> Spent:
        """The time of the run so far, that of its earlier starts included."""
        seconds = self._engine.now_s() - self._start_s
        idle_s = max(0.0, seconds - self._engine.busy_s)
        return Spent(self._before.seconds + seconds, self._before.harness_seconds + idle_s)

    def _record_reason(self, error: KswatchError) -> None:
        """Record why the run stopped, in its log and as an event of the run."""
        with suppress(KswatchError):  # the store itself may be why
            self._progress.note(str(error))
            reason = f"interrupted: {error}"
            if isinstance(error, WorkerLostError):
                run_events.mark_worker_lost(self._store, self._run_id, reason)
            else:
                run_events.add_run_event(self._store, self._run_id, "note", "kswatch", reason)

    def _measure(self, left: Sequence[WorkUnit], budget: TimeBudget) -> None:
        """Measure the units in order of value; what does not fit the budget leaves its time to the next."""
        problems, cells = len(left), sum(len(one.implementations) for one in left)
        self._progress.begin(f"run {self._run_id}: {self._plan.suite}", problems, cells)
        self._read_canaries("start")
        caps, expected_s, left_out = self._time_caps(left), 0.0, []
        for index, unit in enumerate(left):
            if index == problems // 2:
                self._read_canaries("middle")
            slower = budget.spent_s / expected_s if expected_s else 0.0  # than expected so far
            if not budget.holds(slower * unit.seconds):
                left_out.append(unit)
                continue
            self._progress.starting(unit.problem)
            records = self._engine.measure(self._task(unit, caps.next_settings(left[index:])))
            new = [record for record in records if record.implementation in unit.implementations]
            self._record(new)
            self._progress.recorded(new)
            expected_s += unit.seconds
        if left_out:
            self._skip(left_out, budget)
        self._read_canaries("end")

    def _record(self, records: Sequence[MeasurementRecord]) -> None:
        """Record a problem; again where the connection was lost, which changes nothing if it was recorded."""
        spent = self._spent()
        times = (spent.seconds, spent.harness_seconds)
        with suppress(ConnectionLostError):
            return self._store.record_problem(self._run_id, records, *times)
        return self._store.record_problem(self._run_id, records, *times)

    def _task(self, unit: WorkUnit, settings: MeasureSettings) -> MeasureTask:
        paired_with = tuple(name for name in unit.paired_with if name not in unit.implementations)
        return MeasureTask(
            unit.problem,
            paired_with + unit.implementations,
            settings=settings,
            energy=unit.energy,
            seed=unit.plan_index,
        )

    def _time_caps(self, left: Sequence[WorkUnit]) -> TimeCaps:
        """Time caps that keep the plan's time limit, in proportion where only some problems are left.

        Rivals and foreign code may compile for longer than all cells are timed, which must not shorten the
        timing: with them the limit counts only the time in which the device is busy.
        """
        on_cpu = self._engine.site().device.kind == "cpu"
        within_s = self._plan.within_s if on_cpu else None
        whole_s = within_s * shares(left) / shares(self._units) if within_s else None
        has_rivals = any(name in RIVALS or is_foreign(name) for name in self._plan.implementations)
        clock = (lambda: self._engine.busy_s) if has_rivals else self._engine.now_s
        return TimeCaps(self._settings, TimeBudget(whole_s, clock))

    def _read_canaries(self, position: CanaryPosition) -> None:
        read = self._engine.canaries(position)
        if read:
            self._store.record_canaries(self._run_id, read)

    def _skip(self, left: Sequence[WorkUnit], budget: TimeBudget) -> None:
        """Record the cells that the budget left out as skipped; `--resume` measures them."""
        reason = f"the budget of {as_text(budget.limit_s or 0)} was spent"
        skipped = [
            empty_record(unit.problem, name, "skipped", reason)
            for unit in left
            for name in unit.implementations
        ]
        self._store.record_problem(self._run_id, skipped)
        self._progress.left_out(skipped)

    def _end(self, state: RunState) -> None:
        spent = self._spent()
        try:
            predictions.record(self._store, self._run_id)
            self._store.finish_run(self._run_id, state, spent.seconds, spent.harness_seconds)
        except KswatchError:
            if state == "finished":
                raise
            # A store that failed a moment ago may fail again: the first error is the one to report.
        self._progress.end(f"run {self._run_id} is {state} after {as_text(spent.seconds)}")
