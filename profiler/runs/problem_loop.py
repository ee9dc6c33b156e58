"""The problems of one run, one after the other: each is measured in a child and recorded at once.

Each problem is one transaction, so a run that is stopped or killed at any instant can be resumed
without repeating or losing a problem.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from kswatch.db.backend.errors import ConnectionLostError
from kswatch.db.coordination import lost_workers, run_events
from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import RunRow
from kswatch.db.records import CanaryRecord, MeasurementRecord, ProblemKey, RunState
from kswatch.db.store import Store
from kswatch.errors import KswatchError
from kswatch.profiler.empty_records import unmeasured
from kswatch.profiler.executors.base import Engine, MeasureTask, Position, WorkerLostError
from kswatch.profiler.planning.budget import Budget, as_text
from kswatch.profiler.planning.plan import Plan
from kswatch.profiler.planning.priority_order import Portion, portions, remaining
from kswatch.profiler.planning.time_caps import Pace
from kswatch.profiler.runs import predictions
from kswatch.profiler.runs.progress import Progress
from kswatch.profiler.settings import MeasureSettings
from kswatch.profiler.signals import Stopped

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
        in_portions: Sequence[Portion] | None = None,
    ) -> None:
        """Prepare; nothing is measured or written yet.

        Args:
            store: Where the run has begun.
            run_id: Its number.
            plan: What it measures.
            engine: Where.
            progress: Told what happens.
            in_portions: The plan in order of value; problem by problem unless given.
            settings: How carefully; a suite that should be short measures less carefully where it must.
        """
        self._store = store
        self._run_id = run_id
        self._plan = plan
        self._engine = engine
        self._progress = progress
        self._settings = settings
        self._portions = in_portions if in_portions is not None else portions(plan, None, {}, None)
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
            self._measure(remaining(self._portions, done), budget)
            state = "finished"
        except Stopped:
            state = "interrupted"
        except KeyboardInterrupt:
            state = "interrupted"
            raise
        except KswatchError as error:
            state = "interrupted"
            self._tell_why(error)
            raise
        finally:
            seconds = self._engine.now_s() - began_s
            self._end(state, spent_s + seconds, seconds - self._engine.busy_s)
        return RunResult.of(queries.run(self._store, self._run_id))

    def _tell_why(self, error: KswatchError) -> None:
        """Say why the run stopped where people look for it: in its log, and as an event of the run."""
        with suppress(KswatchError):  # the store itself may be why
            self._progress.note(str(error))
            told = f"interrupted: {error}"
            if isinstance(error, WorkerLostError):
                lost_workers.say_lost(self._store, self._run_id, told)
            else:
                run_events.say(self._store, self._run_id, "note", "kswatch", told)

    def _measure(self, left: Sequence[Portion], budget: Budget) -> None:
        problems, cells = len(left), sum(len(one.implementations) for one in left)
        self._progress.begin(f"run {self._run_id}: {self._plan.suite}", problems, cells)
        self._read_canaries("start")
        pace, expected_s = self._pace(problems), 0.0
        for place, portion in enumerate(left):
            if place == problems // 2:
                self._read_canaries("middle")
            slower = budget.spent_s / expected_s if expected_s else 0.0  # than it was expected so far
            if not budget.holds(slower * portion.seconds):
                self._skip(left[place:], budget)
                break
            self._progress.starting(portion.problem)
            records = self._engine.measure(self._task(portion, pace.of_next(problems - place)))
            new = [record for record in records if record.implementation in portion.implementations]
            self._record(new)
            self._progress.recorded(new)
            expected_s += portion.seconds
        self._read_canaries("end")

    def _record(self, records: Sequence[MeasurementRecord]) -> None:
        """Record a problem; once more where the connection was lost, which changes nothing if it was in."""
        with suppress(ConnectionLostError):
            return self._store.record_problem(self._run_id, records)
        return self._store.record_problem(self._run_id, records)

    def _task(self, portion: Portion, settings: MeasureSettings) -> MeasureTask:
        beside = tuple(name for name in portion.beside if name not in portion.implementations)
        return MeasureTask(
            portion.problem,
            beside + portion.implementations,
            settings=settings,
            energy=portion.energy,
            seed=portion.place,
            canaries=tuple(self._canaries),
        )

    def _pace(self, problems: int) -> Pace:
        """What the plan promises, in proportion where only some of its problems are left."""
        on_cpu = self._engine.place().device.kind == "cpu"
        within_s = self._plan.within_s if on_cpu else None
        whole_s = within_s * problems / len(self._plan.problems) if within_s else None
        return Pace(self._settings, len(self._plan.implementations), Budget(whole_s, self._engine.now_s))

    def _read_canaries(self, position: Position) -> None:
        read = self._engine.canaries(position)
        self._canaries += read
        if read:
            self._store.record_canaries(self._run_id, read)

    def _skip(self, left: Sequence[Portion], budget: Budget) -> None:
        """Record what the budget left out: it is not forgotten, and `--resume` measures it."""
        reason = f"the budget of {as_text(budget.limit_s or 0)} was spent"
        skipped = [
            unmeasured(portion.problem, name, "skipped", reason)
            for portion in left
            for name in portion.implementations
        ]
        self._store.record_problem(self._run_id, skipped)
        self._progress.left_out(skipped)

    def _end(self, state: RunState, seconds: float, harness_seconds: float) -> None:
        # A store that failed a moment ago may fail again: the first error is the one to be told.
        with suppress(KswatchError):
            predictions.record(self._store, self._run_id)
            self._store.finish_run(self._run_id, state, seconds, max(0.0, harness_seconds))
        self._progress.end(f"run {self._run_id} is {state} after {as_text(seconds)}")
