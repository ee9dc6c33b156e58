"""One run from beginning to end: plan it, hold the device, begin it in the store, measure, end it.

What happens in between, problem by problem, is in problem_loop.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from kswatch.db.coordination import leases, lost_workers
from kswatch.db.coordination.workers import Sign
from kswatch.db.paired_runs.paired_record import SIDE
from kswatch.db.queries import basic as queries
from kswatch.db.records import RunKind, RunRecord
from kswatch.db.store import Store
from kswatch.errors import MeasurementError, UsageError
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.devices.environment import revision
from kswatch.profiler.devices.preflight import preflight
from kswatch.profiler.executors.base import Engine
from kswatch.profiler.executors.local import local_engine
from kswatch.profiler.liveness.device_lease import holding
from kswatch.profiler.liveness.heartbeat import Heart
from kswatch.profiler.planning.budget import Budget
from kswatch.profiler.planning.cost_estimate import estimate
from kswatch.profiler.planning.plan import Filters, Plan, plan_suite
from kswatch.profiler.planning.priority_order import last_best, portions
from kswatch.profiler.planning.run_options import Ways
from kswatch.profiler.runs.logged_progress import Logged
from kswatch.profiler.runs.problem_loop import ProblemLoop, RunResult
from kswatch.profiler.runs.progress import Progress
from kswatch.profiler.signals import EitherStop

MakeEngine = Callable[[devices.Target, float, threading.Event], Engine]


@dataclass(frozen=True)
class Surroundings:
    """What a run needs beside the store and its plan."""

    config: ProfilerConfig = ProfilerConfig()
    progress: Progress = field(default_factory=Progress)
    stop: threading.Event = field(default_factory=threading.Event)
    """When set, the problem under way is given up and the run ends as interrupted."""
    make_engine: MakeEngine = local_engine
    """Where problems are measured: a child process of this host."""
    find_device: Callable[[str], devices.Target] = devices.find
    """Which device is meant by a word: one of this host."""
    list_devices: Callable[[], tuple[devices.Target, ...]] = devices.list_targets
    """Those that could be meant."""
    signs: Callable[[Mapping[str, int]], Sequence[Sign]] = lambda running: ()
    """Signs of life of who measures elsewhere, given the run of each device that has one."""
    engine: str = "local"
    """Its name, as signs of life tell it."""
    distant: bool = False
    """Whether devices are those of other processes, which tell of themselves what this host would."""


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
        suite: A name of `kswatch.profiler.planning.suites.SUITES`, or `ad_hoc` for the patterns of the filters alone.
        device: `cpu`, `cuda`, a UUID, its unique prefix or a model name.
        filters: What to take of the suite, as `kswatch.profiler.planning.plan.Filters` names it.
        kind: Why it is measured.
        budget_s: After so many seconds what is left is recorded as skipped.
        request_id: The request that it answers.
        surroundings: How, and who is told.

    Raises:
        UsageError: there is no such suite, or a filter makes no sense.
        MeasurementError: there is no such device, it is in use, or it cannot be used.
        StoreError: the store cannot be written; what was recorded stays.
    """
    around = surroundings or Surroundings()
    arguments = {"hot": around.config.hot} | dict(filters or {})
    chosen, ways = Filters.from_arguments(arguments), Ways.from_arguments(arguments)
    plan, target = plan_suite(suite, chosen), around.find_device(device)
    with _measuring(store, plan, target, around, budget_s, ways) as (engine, loop):
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
                arguments=chosen.as_arguments() | ways.as_arguments(),
                request_id=request_id,
            )
        )
        return loop(run_id).conduct(Budget(budget_s, engine.now_s))


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
        UsageError: no such run, nothing is left of it, or its commit, environment or suite is another now.
        MeasurementError: its device is not here, is in use, or cannot be used.
    """
    around = surroundings or Surroundings()
    if run_id is None:
        run_id = store.resumable_run(around.find_device(device).record.uuid if device else None)
    if run_id is None:
        raise UsageError("there is no interrupted run to resume; `kswatch runs` lists all")
    begun, row = store.run_plan(run_id), queries.run(store, run_id)
    plan = plan_suite(begun.suite, Filters.from_arguments(begun.arguments))
    if begun.origin == "imported" or SIDE in begun.arguments or plan.cells != begun.planned_cells:
        raise UsageError(f"run {run_id} cannot be resumed: its cells cannot be planned here; begin a new one")
    done = store.done_cells(run_id)
    if len(done) >= plan.cells:
        raise UsageError(f"run {run_id} is complete: nothing is left to measure")
    target = around.find_device(begun.device.uuid)
    budget_s = budget_s or begun.budget_s
    ways = Ways.from_arguments(begun.arguments)
    with _measuring(store, plan, target, around, budget_s, ways) as (engine, loop):
        _refuse_changes(run_id, begun, engine)
        store.reopen_run(run_id)
        lost_workers.say_back(store, run_id)
        budget = Budget(budget_s, engine.now_s)
        return loop(run_id).conduct(budget, done, row.seconds or 0.0)


@contextmanager
def _measuring(
    store: Store,
    plan: Plan,
    target: devices.Target,
    surroundings: Surroundings,
    budget_s: float | None,
    ways: Ways,
) -> Iterator[tuple[Engine, Callable[[int], ProblemLoop]]]:
    """The device's engine, and what makes a run's loop there, while the device is held."""
    config, uuid = surroundings.config, target.record.uuid
    settings = ways.settings(config.settings)
    stop = EitherStop(surroundings.stop)
    if not surroundings.distant:
        _look_before(target, surroundings.progress)
    with (
        store.patient(config.store_absent_s),
        holding(store, uuid, config.lease_s) as held,
        leases.fenced(store, held, config.lease_s),
    ):
        heart = Heart(store, held, config.lease_s, stop, signs=not surroundings.distant)
        _mark_dead_runs(store, target)
        with heart.beating(), closing(surroundings.make_engine(target, config.watchdog_s, stop)) as engine:

            def loop(run_id: int) -> ProblemLoop:
                heart.run_id = run_id
                progress = Logged(surroundings.progress, store, run_id)
                known = estimate(store, target.record, plan, settings)
                ordered = portions(plan, known, last_best(store, uuid), budget_s)
                return ProblemLoop(store, run_id, plan, engine, progress, settings, ordered)

            yield engine, loop


def _look_before(target: devices.Target, progress: Progress) -> None:
    """Refuse a device whose times would mean nothing; tell what a reader should know."""
    found = preflight(target)
    if found.time_refusal:
        raise MeasurementError(found.time_refusal)
    for note in found.notes:
        progress.note(note)


def _mark_dead_runs(store: Store, target: devices.Target) -> None:
    """Runs of a device that are `running` although we hold it were killed: they can be resumed."""
    for row in queries.runs(store, states=("running",), limit=None):
        if row.device_uuid == target.record.uuid:
            store.finish_run(row.id, "interrupted")


def _refuse_changes(run_id: int, begun: RunRecord, engine: Engine) -> None:
    """A run is of one revision in one environment: another one may not add to it."""
    now, then = revision(Path(__file__)), begun.revision
    if (now and now.commit) != (then and then.commit):
        raise UsageError(f"run {run_id} was measured at another commit; check that out, or begin a new run")
    if (now and now.dirty) != (then and then.dirty):
        changed = (
            "uncommitted changes came since" if now and now.dirty else "its uncommitted changes are gone"
        )
        raise UsageError(
            f"run {run_id} cannot be resumed: {changed}; bring the files back, or begin a new run"
        )
    if engine.place().environment != begun.environment:
        raise UsageError(f"run {run_id} was measured in another environment; begin a new run")
