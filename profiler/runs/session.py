"""One run from beginning to end: plan it, hold the device, begin it in the store, measure, end it.

The part in between, problem by problem, is in problem_loop.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from kswatch.db.coordination import leases, run_events, run_log
from kswatch.db.coordination.workers import Heartbeat
from kswatch.db.paired_runs.paired_record import SIDE
from kswatch.db.queries import basic as queries
from kswatch.db.records import (
    ALL,
    IMPLEMENTATIONS,
    RIVALS,
    EnvironmentRecord,
    RunKind,
    RunRecord,
    is_foreign,
)
from kswatch.db.store import Store
from kswatch.errors import MeasurementError, UsageError
from kswatch.logs import log_context, set_log_run
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.devices.preflight import preflight
from kswatch.profiler.executors.base import Engine, MeasurementSite
from kswatch.profiler.executors.local import local_engine
from kswatch.profiler.foreign.sources import Foreign
from kswatch.profiler.liveness.device_lease import hold_device
from kswatch.profiler.liveness.heartbeat import LeaseKeeper
from kswatch.profiler.planning import suites
from kswatch.profiler.planning.budget import TimeBudget
from kswatch.profiler.planning.cost_estimate import estimate_cost
from kswatch.profiler.planning.foreign_suites import is_foreign_suite
from kswatch.profiler.planning.plan import Filters, Plan, plan_suite
from kswatch.profiler.planning.priority_order import last_best, work_units
from kswatch.profiler.planning.run_options import RunOptions
from kswatch.profiler.revisions.code_revision import revision_note, running_revision
from kswatch.profiler.runs.logged_progress import LoggedProgress
from kswatch.profiler.runs.problem_loop import ProblemLoop, RunResult, Spent
from kswatch.profiler.runs.progress import Progress
from kswatch.profiler.settings import MeasureSettings, half_width_of, with_half_width
from kswatch.profiler.signals import EitherStop

MakeEngine = Callable[[devices.Target, float, threading.Event], Engine]


@dataclass(frozen=True)
class RunContext:
    """Everything that a run needs beside the store and its plan."""

    config: ProfilerConfig = ProfilerConfig()
    progress: Progress = field(default_factory=Progress)
    stop: threading.Event = field(default_factory=threading.Event)
    """When set, the problem in progress is abandoned and the run ends as interrupted."""
    make_engine: MakeEngine = local_engine
    """Makes what measures the problems: a child process of this host."""
    find_device: Callable[[str], devices.Target] = devices.find
    """Finds the device that a name means: one of this host."""
    list_devices: Callable[[], tuple[devices.Target, ...]] = devices.list_targets
    """All devices that a name could mean."""
    heartbeats: Callable[[Mapping[str, int]], Sequence[Heartbeat]] = lambda running: ()
    """Heartbeats of workers on other hosts, given the run of each device that has one."""
    engine: str = "local"
    """The engine's name in heartbeats."""
    foreign: Foreign = Foreign()
    """The foreign implementations and suites that a run may name."""
    remote: bool = False
    """Whether the devices belong to processes of other hosts, which check them before a run."""


def on_this_host(
    config: ProfilerConfig, progress: Progress, stop: threading.Event, foreign: Foreign | None = None
) -> RunContext:
    """The context of runs on this host's devices, with these foreign names, or those that it lists."""
    foreign = foreign or Foreign(config.foreign)
    engine = partial(local_engine, foreign=foreign)
    return RunContext(config, progress, stop, make_engine=engine, foreign=foreign)


def run_suite(
    store: Store,
    suite: str,
    device: str = "cpu",
    *,
    filters: Mapping[str, object] | None = None,
    kind: RunKind = "ad_hoc",
    budget_s: float | None = None,
    request_id: int | None = None,
    context: RunContext | None = None,
) -> RunResult:
    """Measure a suite on one device and record it as a new run.

    Args:
        store: Where it is recorded; only this process writes, never the child.
        suite: A name of `planning.suites.SUITES`, or `ad_hoc` for the patterns of the filters alone.
        device: `cpu`, `cuda`, a UUID, its unique prefix or a model name.
        filters: The part of the suite to measure, with the keys of `planning.plan.Filters`.
        kind: The purpose of the run.
        budget_s: When it is spent, the remaining cells are recorded as skipped.
        request_id: The queued request behind it.
        context: Configuration, engine, progress and stop event.

    Raises:
        UsageError: there is no such suite, or a filter makes no sense.
        MeasurementError: there is no such device, it is in use, or it cannot be used.
        StoreError: the store cannot be written; what was recorded stays.
    """
    context = context or RunContext()
    note = revision_note()
    arguments = _defaults(context, suite, kind, filters or {}) | dict(filters or {})
    chosen, options = Filters.from_arguments(arguments), RunOptions.from_arguments(arguments)
    target = context.find_device(device)
    plan = plan_suite(suite, chosen, device_kind=target.record.kind, foreign=context.foreign)
    budget_s = budget_s or plan.budget_s
    settings = options.settings(context.config.settings_on(target.record.kind))
    with _measuring(store, plan, target, context, budget_s, settings) as (engine, loop):
        site = engine.site()
        run_id = store.begin_run(
            RunRecord(
                suite=plan.suite,
                device=site.device,
                environment=with_half_width(site.environment, settings.half_width),
                revision=running_revision(),
                kind=kind,
                origin="simulated" if site.device.simulated else "measured",
                started_at=datetime.now(UTC),
                budget_s=budget_s,
                planned_cells=plan.cells,
                arguments=chosen.as_arguments() | options.as_arguments(),
                request_id=request_id,
                libraries=_libraries(site, plan),
            )
        )
        if note:
            context.progress.note(note)
            run_log.log(store, run_id, [("warning", note)])
        return loop(run_id).conduct(TimeBudget(budget_s, engine.now_s))


def _libraries(site: MeasurementSite, plan: Plan) -> dict[str, object]:
    """The libraries of rivals, and of those foreign implementations that the run measures."""
    planned = plan.implementations
    return {name: of for name, of in site.libraries.items() if not is_foreign(name) or name in planned}


def _defaults(
    context: RunContext, suite: str, kind: RunKind, filters: Mapping[str, object]
) -> dict[str, object]:
    """What the configuration asks of a run that does not ask otherwise."""
    found: dict[str, object] = {"hot": context.config.hot}
    if kind != "nightly" or filters.get("implementation"):
        return found
    if foreign := context.foreign.implementations():
        found["foreign"] = list(foreign)
    if context.config.nightly_baselines == ALL or is_foreign_suite(suite, context.foreign):
        return found
    if suites.find(suite).implementations == IMPLEMENTATIONS:
        found["baselines"] = [context.config.nightly_baselines]
    return found


def resume(
    store: Store,
    run_id: int | None = None,
    *,
    device: str | None = None,
    budget_s: float | None = None,
    within_budget: bool = False,
    context: RunContext | None = None,
) -> RunResult:
    """Continue a run where it stopped: the cells of its plan that it lacks, and the skipped ones.

    Args:
        store: Where the run is.
        run_id: Its number; the newest interrupted run unless given.
        device: Takes only a run of this device.
        budget_s: For the remaining cells; that of the run unless given.
        within_budget: Whether what the run has spent before counts too, as if it had not been interrupted.
        context: Configuration, engine, progress and stop event.

    Raises:
        UsageError: no such run, it is complete, or its commit, environment or suite has changed.
        MeasurementError: its device is not here, is in use, or cannot be used.
    """
    context = context or RunContext()
    if run_id is None:
        run_id = store.resumable_run(context.find_device(device).record.uuid if device else None)
    if run_id is None:
        raise UsageError("there is no interrupted run to resume; `kswatch runs` lists all")
    former, row = store.run_plan(run_id), queries.run(store, run_id)
    chosen = Filters.from_arguments(former.arguments)
    plan = plan_suite(former.suite, chosen, device_kind=former.device.kind, foreign=context.foreign)
    if former.origin == "imported" or SIDE in former.arguments or plan.cells != former.planned_cells:
        raise UsageError(f"run {run_id} cannot be resumed: its cells cannot be planned here; begin a new one")
    done = store.done_cells(run_id)
    if len(done) >= plan.cells and row.state == "finished":
        raise UsageError(f"run {run_id} is complete: nothing is left to measure")
    target = context.find_device(former.device.uuid)
    budget_s = budget_s or former.budget_s
    settings = replace(
        RunOptions.from_arguments(former.arguments).settings(context.config.settings_on(target.record.kind)),
        half_width=half_width_of(former.environment),
    )
    with _measuring(store, plan, target, context, budget_s, settings) as (engine, loop):
        _require_unchanged(run_id, former, with_half_width(engine.site().environment, settings.half_width))
        _require_same_libraries(run_id, former, plan, engine)
        store.reopen_run(run_id)
        run_events.mark_worker_back(store, run_id)
        before = Spent(row.seconds or 0.0, row.harness_seconds or 0.0)
        budget = TimeBudget(budget_s, engine.now_s, before.seconds if within_budget else 0.0)
        return loop(run_id).conduct(budget, done, before)


@contextmanager
def _measuring(
    store: Store,
    plan: Plan,
    target: devices.Target,
    context: RunContext,
    budget_s: float | None,
    settings: MeasureSettings,
) -> Iterator[tuple[Engine, Callable[[int], ProblemLoop]]]:
    """The device's engine and a factory of the run's loop, while the device is held."""
    config, uuid = context.config, target.record.uuid
    stop = EitherStop(context.stop)
    if not context.remote:
        _preflight(target, context.progress)
    with (
        log_context(device=uuid),
        store.retrying(config.store_absent_s),
        hold_device(store, uuid, config.lease_s) as held,
        leases.fenced(store, held, config.lease_s),
    ):
        keeper = LeaseKeeper(store, held, config.lease_s, stop, heartbeats=not context.remote)
        _mark_dead_runs(store, target)
        with keeper.keep_alive(), closing(context.make_engine(target, config.watchdog_s, stop)) as engine:

            def loop(run_id: int) -> ProblemLoop:
                keeper.run_id = run_id
                set_log_run(run_id)
                progress = LoggedProgress(context.progress, store, run_id)
                known = estimate_cost(store, target.record, plan, settings)
                ordered = work_units(plan, known, last_best(store, uuid), budget_s)
                return ProblemLoop(store, run_id, plan, engine, progress, settings, ordered)

            yield engine, loop


def _preflight(target: devices.Target, progress: Progress) -> None:
    """Refuse a device whose latencies would be meaningless; note what a reader needs to know."""
    found = preflight(target)
    if found.time_refusal:
        raise MeasurementError(found.time_refusal)
    for note in found.notes:
        progress.note(note)


def _mark_dead_runs(store: Store, target: devices.Target) -> None:
    """Mark killed runs, which are `running` although this process holds the device: they can be resumed."""
    for row in queries.runs(store, states=("running",), limit=None):
        if row.device_uuid == target.record.uuid:
            store.finish_run(row.id, "interrupted", row.seconds, row.harness_seconds)


def _require_unchanged(run_id: int, former: RunRecord, environment: EnvironmentRecord) -> None:
    """Refuse to add to a run of another revision or environment."""
    now, then = running_revision(), former.revision
    if then is None or now.commit != then.commit:
        raise UsageError(f"run {run_id} was measured at another commit; check that out, or begin a new run")
    if now.dirty != then.dirty:
        changed = "there are new uncommitted changes" if now.dirty else "its uncommitted changes are gone"
        raise UsageError(f"run {run_id} cannot be resumed: {changed}; restore the files, or begin a new run")
    if environment != former.environment:
        raise UsageError(f"run {run_id} was measured in another environment; begin a new run")


def _require_same_libraries(run_id: int, former: RunRecord, plan: Plan, engine: Engine) -> None:
    """Refuse to mix two versions of a rival, or of foreign code, in one run."""
    now, then = engine.site().libraries, former.libraries
    of_others = [name for name in plan.implementations if name in RIVALS or is_foreign(name)]
    changed = [name for name in of_others if now.get(name) != then.get(name)]
    if changed:
        raise UsageError(
            f"run {run_id} was measured with other libraries of {', '.join(changed)}; install those again, "
            "or begin a new run"
        )
