"""An A/B run of two revisions: their files, the device's lease, pairs of processes, the store."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from kswatch.db.coordination import leases
from kswatch.db.coordination.leases import Held
from kswatch.db.paired_runs import ratios as paired_ratios
from kswatch.db.paired_runs.paired_record import BASE, HEAD, SIDE, BrokenRevision, PairedReading
from kswatch.db.records import AD_HOC, ProblemKey, RevisionRecord, RunRecord, RunState
from kswatch.db.store import Store
from kswatch.errors import KswatchError, MeasurementError
from kswatch.kernels.problem import Problem
from kswatch.profiler.ab_runs.pair import SIDES, PairSetup, ProcessPair
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.devices.nightly_devices import nightly_devices
from kswatch.profiler.devices.preflight import BUSY_SHARE, preflight
from kswatch.profiler.empty_records import problem_key
from kswatch.profiler.executors.base import MeasurementSite
from kswatch.profiler.liveness.device_lease import hold_device
from kswatch.profiler.planning.budget import parse_seconds
from kswatch.profiler.planning.plan import Filters, Plan, plan_suite
from kswatch.profiler.revisions import git
from kswatch.profiler.revisions.affected_implementations import affected_implementations
from kswatch.profiler.revisions.checkouts import checkouts
from kswatch.profiler.revisions.revision_kernels import BEFORE_PACKAGE, is_before_package
from kswatch.profiler.runs.progress import for_terminal
from kswatch.profiler.runs.session import RunContext
from kswatch.profiler.signals import Stopped, stop_on_signals

UNCOMMITTED = "uncommitted changes below kernels/ are not measured; commit them first"
ONE_THREAD = {"OMP_NUM_THREADS": "1"}

CellsByProblem = Mapping[ProblemKey, Sequence[str]]
Kind = Literal["gate", "bisect", "confirm"]


@dataclass(frozen=True)
class ComparisonRequest:
    """The revisions to compare, and where, by the names that the command line takes."""

    repository: Path
    base: str
    head: str
    device: str
    suite: str
    filters: Mapping[str, object] = field(default_factory=dict)
    force: bool = False
    """Measure although no change affects an implementation: an A/A test."""
    kind: Kind = "gate"
    request_id: int | None = None
    """The queued request behind it, whose runs are kept for each pair of processes."""


@dataclass
class GateSession:
    """Two revisions, ready to be measured; `cells` is empty where no change affects any."""

    base: RevisionRecord
    head: RevisionRecord
    changed: tuple[str, ...] = ()
    """Files below `kernels/` that differ."""
    cells: dict[ProblemKey, tuple[str, ...]] = field(default_factory=dict)
    device: str = ""
    notes: tuple[str, ...] = ()
    runs: dict[str, int] = field(default_factory=dict)
    """By side: the run that records it, where there is a store."""
    budget_s: float = 600.0
    _pairs: int = 0
    _setup: PairSetup | None = None
    _broken: BrokenRevision | None = None
    _recorder: _Recorder | None = None
    _context: RunContext = field(default_factory=RunContext)

    def readings(
        self, cells: CellsByProblem, rounds: int, swapped: bool = False
    ) -> Iterator[PairedReading | BrokenRevision]:
        """Each cell once, measured by a fresh pair of processes; or the revision that cannot be used.

        Closing the iterator early ends the processes.

        Raises:
            Stopped: the A/B run was asked to stop.
        """
        if self._broken:
            yield self._broken
            return
        assert self._setup is not None, "there are no cells to measure"
        progress = self._context.progress
        with closing(ProcessPair(self._setup, swapped)) as pair:
            site = pair.start()
            if isinstance(site, BrokenRevision):
                yield site
                return
            self._pairs += 1
            if self._recorder:
                self._recorder.begin_pair()
            progress.begin(f"pair {self._pairs} of processes", len(cells), sum(map(len, cells.values())))
            try:
                for seed, (problem, names) in enumerate(cells.items()):
                    found = pair.measure(problem, names, rounds, seed)
                    if self._recorder:
                        self._recorder.record(self, site, found)
                    progress.recorded([one.head for one in found])
                    yield from found
            finally:
                progress.end(f"pair {self._pairs} of processes has ended")


SUITES = {"cpu": "smoke", "cuda": "vit_s16"}
"""The suite of a device's kind, unless a suite or patterns are named: it takes minutes."""


@contextmanager
def open_for_command(
    config: ProfilerConfig,
    *,
    store: Store | None,
    repository: Path,
    base: str,
    head: str,
    device: str | None,
    suite: str | None,
    filters: Mapping[str, object],
    budget: str,
    force: bool = False,
    kind: Kind = "gate",
) -> Iterator[GateSession]:
    """`open_gate` with defaults of the configuration, progress on stderr, and a clean end on Ctrl-C.

    Raises:
        KeyboardInterrupt: it was stopped; the device is free and the files are removed.
    """
    budget_s = parse_seconds(budget)
    spec = device or nightly_devices(config)[0]
    patterns = AD_HOC if filters.get("pattern") else SUITES["cpu" if spec == "cpu" else "cuda"]
    request = ComparisonRequest(
        git.repository_of(repository), base, head, spec, suite or patterns, filters, force, kind
    )
    with stop_on_signals() as stop:
        try:
            with open_gate(request, RunContext(config, for_terminal(), stop), store) as session:
                session.budget_s = budget_s
                yield session
        except Stopped:
            raise KeyboardInterrupt from None


@contextmanager
def open_gate(
    request: ComparisonRequest, context: RunContext, store: Store | None = None
) -> Iterator[GateSession]:
    """Resolve and check out the revisions and hold the device; all of it is released at the end.

    Raises:
        UsageError: no repository, no such revision, no such suite or filter.
        MeasurementError: no such device, it is in use, or no revision can be written.
    """
    base, head = (git.revision_of(request.repository, name) for name in (request.base, request.head))
    plan = plan_suite(request.suite, Filters.from_arguments(request.filters))
    changed = tuple(git.changed_paths(request.repository, base.commit, head.commit))
    notes = (UNCOMMITTED,) if git.has_uncommitted(request.repository, head.commit) else ()
    if not changed and not request.force:
        yield GateSession(base, head, notes=notes)
        return
    target = devices.find(request.device)
    with checkouts(request.repository, [base.commit, head.commit]) as folders:
        # kernels from before the package could only be replaced by this kswatch's own, not measured
        old = (
            BrokenRevision(side, revision.commit, BEFORE_PACKAGE, log="")
            for side, folder, revision in zip(SIDES, folders, (base, head), strict=True)
            if is_before_package(folder)
        )
        broken = next(old, None)
        names = plan.implementations if broken else _chosen(request, plan, changed, folders, target)
        products = (problem for problem in plan.problems if isinstance(problem, Problem))
        cells = {problem_key(problem): names for problem in products} if names else {}
        session = GateSession(
            base, head, changed, cells, target.record.uuid, notes, _context=context, _broken=broken
        )
        if broken or not cells:
            yield session
            return
        seen, variables = _preflight(target)
        session.notes += seen
        session._setup = PairSetup(
            (base.commit, head.commit),
            tuple(folders),
            target.spec,
            names,
            settings=context.config.settings_on(target.record.kind),
            stop=context.stop,
            variables=variables,
        )
        with _recording(request, plan.suite, target, store) as session._recorder:
            yield session


def _chosen(
    request: ComparisonRequest, plan: Plan, changed: Sequence[str], folders: Sequence[Path], target: Target
) -> tuple[str, ...]:
    """The implementations of the plan that a change affects; an A/A test measures others too."""
    affected = affected_implementations(changed, folders, target.record.kind)
    if not request.force:
        return tuple(name for name in plan.implementations if name in affected)
    if Filters.from_arguments(request.filters).implementation:
        return plan.implementations
    return tuple(name for name in plan.implementations if name in affected or name == "fused")


def _preflight(target: Target) -> tuple[tuple[str, ...], dict[str, str]]:
    """Notes for the reader, and variables of the processes: on a busy CPU they use one thread."""
    found = preflight(target)
    if found.time_refusal:
        raise MeasurementError(found.time_refusal)
    if target.record.kind != "cpu":
        return found.notes, {"CUDA_VISIBLE_DEVICES": target.record.uuid}
    busy = os.getloadavg()[0] > BUSY_SHARE * devices.cpu_threads()
    if not busy or "OMP_NUM_THREADS" in os.environ:
        return found.notes, {}
    load = f"other programs are using the CPU (load {os.getloadavg()[0]:.1f})"
    return (f"{load}: each revision computes on one thread, which they disturb less",), dict(ONE_THREAD)


@contextmanager
def _recording(
    request: ComparisonRequest, suite: str, target: Target, store: Store | None
) -> Iterator[_Recorder | None]:
    """The recorder of an A/B run, while the device is held in the store; None without a store."""
    if store is None:
        yield None
        return
    with hold_device(store, target.record.uuid, leases.LEASE_SECONDS) as held:
        recorder = _Recorder(store, held, request, suite)
        state: RunState = "failed"
        try:
            yield recorder
            state = "finished"
        finally:
            with suppress(KswatchError):
                recorder.end(state)


class _Recorder:
    """Records each side as a run of its own; cells that are measured again replace the former reading.

    For a request each pair of processes has two runs of its own: how well pairs agree decides its judgement.
    """

    def __init__(self, store: Store, held: Held, request: ComparisonRequest, suite: str) -> None:
        self._store, self._held, self._request, self._suite = store, held, request, suite
        self._runs: dict[str, int] = {}
        self._started_at = datetime.now(UTC)

    def begin_pair(self) -> None:
        """The next readings come from fresh processes."""
        if self._request.request_id is not None:
            self.end("finished")
            self._runs, self._started_at = {}, datetime.now(UTC)

    def record(self, session: GateSession, site: MeasurementSite, readings: Sequence[PairedReading]) -> None:
        """Write one problem's readings."""
        leases.heartbeat(self._store, self._held)
        if not self._runs:
            session.runs = self._runs = {side: self._begin(session, site, side) for side in SIDES}
        for side in SIDES:
            records = [one.base if side == "base" else one.head for one in readings]
            self._store.record_problem(self._runs[side], records)
        paired_ratios.record(self._store, self._runs[HEAD], self._runs[BASE], readings)

    def end(self, state: RunState) -> None:
        """Finish both runs; a stopped one is `failed`: it is requested again, never resumed."""
        seconds = (datetime.now(UTC) - self._started_at).total_seconds()
        for run_id in self._runs.values():
            self._store.finish_run(run_id, state, seconds)

    def _begin(self, session: GateSession, site: MeasurementSite, side: str) -> int:
        one, other = (session.base, session.head) if side == "base" else (session.head, session.base)
        filters = Filters.from_arguments(self._request.filters).as_arguments()
        return self._store.begin_run(
            RunRecord(
                suite=self._suite,
                device=site.device,
                environment=site.environment,
                revision=replace(one, branch=None),
                kind=self._request.kind,
                origin="simulated" if site.device.simulated else "measured",
                started_at=datetime.now(UTC),
                planned_cells=sum(map(len, session.cells.values())),
                arguments=filters | {SIDE: side, "against": other.commit},
                request_id=self._request.request_id,
            )
        )
