"""The problems of one run, one after the other: each is measured in a child and recorded at once.

Each problem is one transaction, so a run that is stopped or killed at any instant can be resumed
without repeating or losing a problem.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from db import queries, run_events
from db.queries import RunRow
from db.records import CanaryRecord, ProblemKey, RunState
from db.store import Store
from kswatch_errors import KswatchError
from profiler import predictions
from profiler.budget import Budget, as_text
from profiler.engines.engine import Engine, MeasureTask, Position
from profiler.interruption import Stopped
from profiler.pace import Pace
from profiler.plan import Plan
from profiler.progress import Progress
from profiler.settings import MeasureSettings
from profiler.unmeasured import problem_key, unmeasured

Cells = Collection[tuple[ProblemKey, str]]


@dataclass(frozen=True)
class RunResult:
    """What a run gave; `cells` and `seconds` count those of an earlier start too."""

    run: int
    device: str
    cells: int
    by_status: dict[str, int]
    seconds: float
    state: str

    @classmethod
    def of(cls, row: RunRow) -> RunResult:
        """The result of a run that has ended, as the store tells it."""
        seconds = round(row.seconds or 0.0, 3)
        return cls(row.id, row.device_uuid, row.cells, row.by_status, seconds, row.state)


class ProblemLoop:
    """Measures what the plan of a run that has begun still holds, and ends the run."""

    def __init__(
        self,
        store: Store,
        run_id: int,
        plan: Plan,
        engine: Engine,
        progress: Progress,
        settings: MeasureSettings = MeasureSettings(),  # noqa: B008 (frozen)
    ) -> None:
        """Prepare; nothing is measured or written yet.

        Args:
            store: Where the run has begun.
            run_id: Its number.
            plan: What it measures.
            engine: Where.
            progress: Told what happens.
            settings: How carefully; a suite that should be short measures less carefully where it must.
        """
        self._store = store
        self._run_id = run_id
        self._plan = plan
        self._engine = engine
        self._progress = progress
        self._settings = settings
        self._canaries: list[CanaryRecord] = []

    def conduct(self, budget: Budget, done: Cells = (), spent_s: float = 0.0) -> RunResult:
        """Measure the cells that are not done, and end the run whatever happens.

        Args:
            budget: Wall time from now on.
            done: Cells that an earlier start of the run recorded.
            spent_s: Seconds that it took.
        """
        began_s = self._engine.now_s()
        state: RunState = "failed"
        try:
            self._measure(self._tasks(done), budget)
            state = "finished"
        except Stopped:
            state = "interrupted"
        except KeyboardInterrupt:
            state = "interrupted"
            raise
        except KswatchError as error:
            state = "interrupted"
            self._tell_why(str(error))
            raise
        finally:
            seconds = self._engine.now_s() - began_s
            self._end(state, spent_s + seconds, seconds - self._engine.busy_s)
        return RunResult.of(queries.run(self._store, self._run_id))

    def _tell_why(self, reason: str) -> None:
        """Say why the run stopped where people look for it: in its log, and as an event of the run."""
        with suppress(KswatchError):  # the store itself may be why
            self._progress.note(reason)
            run_events.say(self._store, self._run_id, "note", "kswatch", f"interrupted: {reason}")

    def _tasks(self, done: Cells) -> list[MeasureTask]:
        tasks = []
        for place, problem in enumerate(self._plan.problems):
            key = problem_key(problem)
            missing = tuple(name for name in self._plan.implementations if (key, name) not in done)
            if missing:
                energy = place < self._plan.energy_problems
                tasks.append(MeasureTask(problem, missing, energy=energy, seed=place))
        return tasks

    def _measure(self, tasks: Sequence[MeasureTask], budget: Budget) -> None:
        cells = sum(len(task.implementations) for task in tasks)
        self._progress.begin(f"run {self._run_id}: {self._plan.suite}", len(tasks), cells)
        self._read_canaries("start")
        pace = self._pace(len(tasks))
        for place, task in enumerate(tasks):
            if place == len(tasks) // 2:
                self._read_canaries("middle")
            if not budget.holds(budget.spent_s / place if place else 0.0):
                self._skip(tasks[place:], budget)
                break
            self._progress.starting(task.problem)
            task = replace(task, canaries=tuple(self._canaries), settings=pace.of_next(len(tasks) - place))
            records = self._engine.measure(task)
            self._store.record_problem(self._run_id, records)
            self._progress.recorded(records)
        self._read_canaries("end")

    def _pace(self, problems: int) -> Pace:
        """What the plan promises, in proportion where only some of its problems are left."""
        within_s = self._plan.within_s
        whole_s = within_s * problems / len(self._plan.problems) if within_s else None
        return Pace(self._settings, len(self._plan.implementations), Budget(whole_s, self._engine.now_s))

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
        self._progress.left_out(skipped)

    def _end(self, state: RunState, seconds: float, harness_seconds: float) -> None:
        # A store that failed a moment ago may fail again: the first error is the one to be told.
        with suppress(KswatchError):
            predictions.record(self._store, self._run_id)
            self._store.finish_run(self._run_id, state, seconds, max(0.0, harness_seconds))
        self._progress.end(f"run {self._run_id} is {state} after {as_text(seconds)}")
