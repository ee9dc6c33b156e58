"""One run from beginning to end: problem after problem is measured in a child and recorded.

Each problem is one transaction, so a run that is stopped or killed at any instant is resumed without
repeating or losing a problem.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from db import queries
from db.records import CanaryRecord, ProblemKey, RunKind, RunRecord, RunState
from db.store import Store
from kswatch_errors import KswatchError, MeasurementError, UsageError
from profiler import devices, predictions
from profiler.budget import Budget, as_text
from profiler.config import ProfilerConfig
from profiler.engines.engine import Engine, MeasureTask, Position
from profiler.engines.local import local_engine
from profiler.environment import revision
from profiler.holding import held
from profiler.interruption import Stopped
from profiler.plan import Filters, Plan, plan_suite
from profiler.preflight import preflight
from profiler.progress import Progress
from profiler.settings import MeasureSettings
from profiler.unmeasured import problem_key, unmeasured

MakeEngine = Callable[[devices.Target, MeasureSettings, float, threading.Event], Engine]


@dataclass(frozen=True)
class Surroundings:
    """What a run needs beside the store and its plan."""

    config: ProfilerConfig = ProfilerConfig()
    progress: Progress = field(default_factory=Progress)
    stop: threading.Event = field(default_factory=threading.Event)
    """When set, the problem under way is given up and the run ends as interrupted."""
    make_engine: MakeEngine = local_engine
    """Where problems are measured: a child process of this host."""


@dataclass(frozen=True)
class RunResult:
    """What a run gave; `cells` and `seconds` count those of an earlier start too."""

    run: int
    device: str
    cells: int
    by_status: dict[str, int]
    seconds: float
    state: RunState


def run_suite(
    store: Store,
    suite: str,
    device: str = "cpu",
    *,
    filters: Mapping[str, object] | None = None,
    kind: RunKind = "ad_hoc",
    budget_s: float | None = None,
    request_id: int | None = None,
    surroundings: Surroundings | None = None,
) -> RunResult:
    """Measure a suite on one device and record it as a new run.

    Args:
        store: Where it is recorded; only this process writes, never the child.
        suite: A name of `profiler.suite.SUITES`, or `ad_hoc` for the patterns of the filters alone.
        device: `cpu`, `cuda`, a UUID, its unique prefix or a model name.
        filters: What to take of the suite, as `profiler.plan.Filters` names it.
        kind: Why it is measured.
        budget_s: After so many seconds what is left is recorded as skipped.
        request_id: The request that it answers.
        surroundings: How, and who is told.

    Raises:
        UsageError: there is no such suite, or a filter makes no sense.
        MeasurementError: there is no such device, it is in use, or it cannot be used.
        StoreError: the store cannot be written; what was recorded stays.
    """
    chosen = Filters.from_arguments(filters or {})
    plan, target = plan_suite(suite, chosen), devices.find(device)
    with _engine(store, plan, target, surroundings or Surroundings()) as (engine, progress):
        place = engine.place()
        run_id = store.begin_run(
            RunRecord(
                suite=plan.suite,
                device=place.device,
                environment=place.environment,
                revision=revision(Path(__file__)),
                kind=kind,
                origin="simulated" if place.device.simulated else "measured",
                started_at=datetime.now(UTC),
                budget_s=budget_s,
                planned_cells=plan.cells,
                arguments=chosen.as_arguments(),
                request_id=request_id,
            )
        )
        return _Session(store, run_id, plan, engine, progress).conduct(Budget(budget_s))


def resume(
    store: Store,
    run_id: int | None = None,
    *,
    device: str | None = None,
    budget_s: float | None = None,
    surroundings: Surroundings | None = None,
) -> RunResult:
    """Go on with a run where it stopped: the same plan without the cells that it has; skipped ones too.

    Args:
        store: Where the run is.
        run_id: Which; the newest that was interrupted unless given.
        device: Only one of this device.
        budget_s: For what is left; that of the run unless given.
        surroundings: How, and who is told.

    Raises:
        UsageError: no such run, or its code, device settings or suite are not what they were.
        MeasurementError: its device is not here, is in use, or cannot be used.
    """
    if run_id is None:
        run_id = store.resumable_run(devices.find(device).record.uuid if device else None)
    if run_id is None:
        raise UsageError("there is no interrupted run to resume; `kswatch runs` lists all")
    begun, row = store.run_plan(run_id), queries.run(store, run_id)
    plan = plan_suite(begun.suite, Filters.from_arguments(begun.arguments))
    if begun.origin == "imported" or plan.cells != begun.planned_cells:
        raise UsageError(f"run {run_id} cannot be resumed: its cells cannot be planned here; begin a new one")
    with _engine(store, plan, devices.find(begun.device.uuid), surroundings or Surroundings()) as (
        engine,
        progress,
    ):
        _refuse_changes(store, run_id, begun, engine)
        store.reopen_run(run_id)
        session = _Session(store, run_id, plan, engine, progress)
        budget = Budget(budget_s or begun.budget_s)
        return session.conduct(budget, store.done_cells(run_id), row.seconds or 0.0)


@contextmanager
def _engine(
    store: Store, plan: Plan, target: devices.Target, surroundings: Surroundings
) -> Iterator[tuple[Engine, Progress]]:
    """The engine of a device that is held meanwhile; runs that died on it are marked as interrupted."""
    config = surroundings.config
    settings = replace(
        plan.settings,
        half_width=config.half_width,
        cell_cap_ms=min(plan.settings.cell_cap_ms, config.cell_cap_ms),
        too_slow_ms=config.too_slow_ms,
    )
    found = preflight(target)
    if found.time_refusal:
        raise MeasurementError(found.time_refusal)
    for note in found.notes:
        surroundings.progress.note(note)
    with held(f"device {target.record.uuid}", store.name):
        for row in queries.runs(store, states=("running",)):
            if row.device_uuid == target.record.uuid:
                store.finish_run(row.id, "interrupted")
        engine = surroundings.make_engine(target, settings, config.watchdog_s, surroundings.stop)
        with closing(engine):
            yield engine, surroundings.progress


def _refuse_changes(store: Store, run_id: int, begun: RunRecord, engine: Engine) -> None:
    """A run is of one revision in one environment: another one may not add to it."""
    now = revision(Path(__file__))
    if (now and (now.commit, now.dirty)) != (
        begun.revision and (begun.revision.commit, begun.revision.dirty)
    ):
        raise UsageError(f"run {run_id} was measured at another commit; check that out, or begin a new run")
    if engine.place().environment != begun.environment:
        raise UsageError(f"run {run_id} was measured in another environment; begin a new run")


class _Session:
    """A run that has begun in the store: measures what its plan still holds, and ends it."""

    def __init__(self, store: Store, run_id: int, plan: Plan, engine: Engine, progress: Progress) -> None:
        self._store = store
        self._run_id = run_id
        self._plan = plan
        self._engine = engine
        self._progress = progress
        self._canaries: list[CanaryRecord] = []

    def conduct(
        self, budget: Budget, done: Collection[tuple[ProblemKey, str]] = (), spent_s: float = 0.0
    ) -> RunResult:
        """Measure the cells that are not done, and end the run whatever happens.

        Args:
            budget: Wall time from now on.
            done: Cells that an earlier start of the run recorded.
            spent_s: Seconds that it took.
        """
        began_s = time.monotonic()
        state: RunState = "failed"
        try:
            self._measure(self._tasks(done), budget)
            state = "finished"
        except Stopped:
            state = "interrupted"
        except (KswatchError, KeyboardInterrupt):
            state = "interrupted"
            raise
        finally:
            seconds = time.monotonic() - began_s
            self._end(state, spent_s + seconds, seconds - self._engine.busy_s)
        ended = queries.run(self._store, self._run_id)
        return RunResult(
            ended.id, ended.device_uuid, ended.cells, ended.by_status, round(spent_s + seconds, 3), state
        )

    def _tasks(self, done: Collection[tuple[ProblemKey, str]]) -> list[MeasureTask]:
        tasks = []
        for place, problem in enumerate(self._plan.problems):
            key = problem_key(problem)
            missing = tuple(name for name in self._plan.implementations if (key, name) not in done)
            if missing:
                energy = place < self._plan.energy_problems
                tasks.append(MeasureTask(problem, missing, energy, seed=place))
        return tasks

    def _measure(self, tasks: Sequence[MeasureTask], budget: Budget) -> None:
        cells = sum(len(task.implementations) for task in tasks)
        self._progress.begin(f"run {self._run_id}: {self._plan.suite}", len(tasks), cells)
        self._read_canaries("start")
        for place, task in enumerate(tasks):
            if place == len(tasks) // 2:
                self._read_canaries("middle")
            if not budget.holds(budget.spent_s / place if place else 0.0):
                self._skip(tasks[place:], budget)
                break
            self._progress.starting(task.problem)
            records = self._engine.measure(replace(task, canaries=tuple(self._canaries)))
            self._store.record_problem(self._run_id, records)
            self._progress.recorded(records)
        self._read_canaries("end")

    def _read_canaries(self, position: Position) -> None:
        read = self._engine.canaries(position)
        self._canaries += read
        if read:
            self._store.record_canaries(self._run_id, read)

    def _skip(self, tasks: Sequence[MeasureTask], budget: Budget) -> None:
        """Record what the budget left out: it is not forgotten, and `--resume` measures it."""
        reason = f"the budget of {as_text(budget.limit_s or 0)} was spent"
        skipped = [
            unmeasured(task.problem, name, "skipped", reason)
            for task in tasks
            for name in task.implementations
        ]
        self._store.record_problem(self._run_id, skipped)

    def _end(self, state: RunState, seconds: float, harness_seconds: float) -> None:
        # A store that failed a moment ago may fail again: the first error is the one to be told.
        with suppress(KswatchError):
            predictions.record(self._store, self._run_id)
            self._store.finish_run(self._run_id, state, seconds, max(0.0, harness_seconds))
        self._progress.end(f"run {self._run_id} is {state} after {as_text(seconds)}")
