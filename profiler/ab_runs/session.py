"""A gate from the profiler's side: worktrees, the device held, pairs of processes, the store."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from kswatch.db.coordination import leases
from kswatch.db.coordination.leases import Held
from kswatch.db.paired_runs import ratios as paired_ratios
from kswatch.db.paired_runs.paired_record import BASE, HEAD, SIDE, BrokenRevision, PairedReading
from kswatch.db.records import ProblemKey, RevisionRecord, RunRecord, RunState
from kswatch.db.store import Store
from kswatch.errors import KswatchError, MeasurementError
from kswatch.profiler.ab_runs.pair import SIDES, Compared, Pair
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.devices.preflight import BUSY_SHARE, preflight
from kswatch.profiler.empty_records import problem_key
from kswatch.profiler.executors.base import Place
from kswatch.profiler.liveness.device_lease import holding
from kswatch.profiler.planning.budget import parse_seconds
from kswatch.profiler.planning.plan import AD_HOC, Filters, plan_suite
from kswatch.profiler.revisions.affected_implementations import implementations_fed
from kswatch.profiler.revisions.git import (
    changed_paths,
    has_uncommitted,
    repository_of,
    revision_of,
    worktrees,
)
from kswatch.profiler.runs.progress import for_terminal
from kswatch.profiler.runs.session import Surroundings
from kswatch.profiler.service.nightly import night_devices
from kswatch.profiler.signals import Stopped, stop_on_signals

UNCOMMITTED = "uncommitted changes below kernels/ are not measured; commit them first"
ONE_THREAD = {"OMP_NUM_THREADS": "1"}

Cells = Mapping[ProblemKey, Sequence[str]]
Kind = Literal["gate", "bisect", "confirm"]


@dataclass(frozen=True)
class Asked:
    """What is to be compared, as the command line says it."""

    repository: Path
    base: str
    head: str
    device: str
    suite: str
    filters: Mapping[str, object] = field(default_factory=dict)
    force: bool = False
    """Measure although nothing that feeds the kernels changed: an A/A test."""
    kind: Kind = "gate"
    request_id: int | None = None
    """The request that it answers, whose runs are kept for each pair of processes."""


@dataclass
class GateSession:
    """Two revisions, ready to be measured; `cells` is empty where nothing that feeds them changed."""

    base: RevisionRecord
    head: RevisionRecord
    changed: tuple[str, ...] = ()
    """Files below `kernels/` that differ."""
    cells: dict[ProblemKey, tuple[str, ...]] = field(default_factory=dict)
    device: str = ""
    notes: tuple[str, ...] = ()
    runs: dict[str, int] = field(default_factory=dict)
    """By side: the run that it was recorded as, where there is a store."""
    budget_s: float = 600.0
    _pairs: int = 0
    _compared: Compared | None = None
    _recorder: _Recorder | None = None
    _surroundings: Surroundings = field(default_factory=Surroundings)

    def readings(
        self, cells: Cells, rounds: int, swapped: bool = False
    ) -> Iterator[PairedReading | BrokenRevision]:
        """Each cell once, measured by a fresh pair of processes; or the revision that cannot be used.

        Closing the iterator early ends the processes.

        Raises:
            Stopped: the gate was asked to stop.
        """
        assert self._compared is not None, "there are no cells to measure"
        progress = self._surroundings.progress
        with Pair(self._compared, swapped) as pair:
            place = pair.begin()
            if isinstance(place, BrokenRevision):
                yield place
                return
            self._pairs += 1
            if self._recorder:
                self._recorder.begin_pair()
            progress.begin(f"pair {self._pairs} of processes", len(cells), sum(map(len, cells.values())))
            try:
                for seed, (problem, names) in enumerate(cells.items()):
                    found = pair.measure(problem, names, rounds, seed)
                    if self._recorder:
                        self._recorder.record(self, place, found)
                    progress.recorded([one.head for one in found])
                    yield from found
            finally:
                progress.end(f"pair {self._pairs} of processes has ended")


SUITES = {"cpu": "smoke", "cuda": "vit_s16"}
"""What is measured unless a suite or patterns are named: minutes, on a device of each kind."""


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
    """The same with defaults of the configuration, progress on stderr, and a clean end on Ctrl-C.

    Raises:
        KeyboardInterrupt: it was stopped; everything has been given back.
    """
    budget_s = parse_seconds(budget)
    spec = device or night_devices(config)[0]
    patterns = AD_HOC if filters.get("pattern") else SUITES["cpu" if spec == "cpu" else "cuda"]
    asked = Asked(repository_of(repository), base, head, spec, suite or patterns, filters, force, kind)
    with stop_on_signals() as stop:
        try:
            with open_gate(asked, Surroundings(config, for_terminal(), stop), store) as session:
                session.budget_s = budget_s
                yield session
        except Stopped:
            raise KeyboardInterrupt from None


@contextmanager
def open_gate(asked: Asked, surroundings: Surroundings, store: Store | None = None) -> Iterator[GateSession]:
    """Resolve, check out and hold; everything is given back at the end, whatever happens.

    Raises:
        UsageError: no repository, no such revision, no such suite or filter.
        MeasurementError: no such device, it is in use, or no worktree can be written.
    """
    base, head = revision_of(asked.repository, asked.base), revision_of(asked.repository, asked.head)
    plan = plan_suite(asked.suite, Filters.from_arguments(asked.filters))
    changed = tuple(changed_paths(asked.repository, base.commit, head.commit))
    notes = (UNCOMMITTED,) if has_uncommitted(asked.repository, head.commit) else ()
    if not changed and not asked.force:
        yield GateSession(base, head, notes=notes)
        return
    target = devices.find(asked.device)
    with worktrees(asked.repository, [base.commit, head.commit]) as folders:
        fed = implementations_fed(changed, folders, target.record.kind)
        chosen = Filters.from_arguments(asked.filters).implementation
        names = tuple(name for name in plan.implementations if name in fed or asked.force)
        if asked.force and not chosen:
            names = tuple(name for name in names if name in fed or name == "fused")
        cells = {problem_key(problem): names for problem in plan.problems} if names else {}
        session = GateSession(base, head, changed, cells, target.record.uuid, notes)
        if not cells:
            yield session
            return
        seen, variables = _look_before(target)
        session.notes += seen
        session._surroundings = surroundings
        session._compared = Compared(
            base,
            head,
            tuple(folders),
            target.spec,
            names,
            settings=surroundings.config.settings,
            stop=surroundings.stop,
            variables=variables,
        )
        with _recording(asked, plan.suite, target, store) as session._recorder:
            yield session


def _look_before(target: Target) -> tuple[tuple[str, ...], dict[str, str]]:
    """What a reader should know, and variables of the processes: on a busy CPU they use one thread."""
    found = preflight(target)
    if found.time_refusal:
        raise MeasurementError(found.time_refusal)
    if target.record.kind != "cpu":
        return found.notes, {"CUDA_VISIBLE_DEVICES": target.record.uuid}
    busy = os.getloadavg()[0] > BUSY_SHARE * devices.cpu_threads()
    if not busy or "OMP_NUM_THREADS" in os.environ:
        return found.notes, {}
    load = f"other programs are computing (load {os.getloadavg()[0]:.1f})"
    return (f"{load}: each revision computes on one thread, which they disturb less",), dict(ONE_THREAD)


@contextmanager
def _recording(asked: Asked, suite: str, target: Target, store: Store | None) -> Iterator[_Recorder | None]:
    """What writes to the store while the device is held there; None without a store."""
    if store is None:
        yield None
        return
    with holding(store, target.record.uuid, leases.LEASE_SECONDS) as held:
        recorder = _Recorder(store, held, asked, suite)
        state: RunState = "failed"
        try:
            yield recorder
            state = "finished"
        finally:
            with suppress(KswatchError):
                recorder.end(state)


class _Recorder:
    """Records each side as a run of its own; cells that are measured again replace the former reading.

    For a request each pair of processes has two runs of its own: who judges it asks how well pairs agree.
    """

    def __init__(self, store: Store, held: Held, asked: Asked, suite: str) -> None:
        self._store, self._held, self._asked, self._suite = store, held, asked, suite
        self._runs: dict[str, int] = {}
        self._began_at = datetime.now(UTC)

    def begin_pair(self) -> None:
        """What comes is by fresh processes."""
        if self._asked.request_id is not None:
            self.end("finished")
            self._runs, self._began_at = {}, datetime.now(UTC)

    def record(self, session: GateSession, place: Place, readings: Sequence[PairedReading]) -> None:
        """Write one problem's readings."""
        leases.heartbeat(self._store, self._held)
        if not self._runs:
            session.runs = self._runs = {side: self._begin(session, place, side) for side in SIDES}
        for side in SIDES:
            records = [one.base if side == "base" else one.head for one in readings]
            self._store.record_problem(self._runs[side], records)
        paired_ratios.record(self._store, self._runs[HEAD], self._runs[BASE], readings)

    def end(self, state: RunState) -> None:
        """Close both runs; what was stopped is `failed`: it is asked again, never resumed."""
        seconds = (datetime.now(UTC) - self._began_at).total_seconds()
        for run_id in self._runs.values():
            self._store.finish_run(run_id, state, seconds)

    def _begin(self, session: GateSession, place: Place, side: str) -> int:
        one, other = (session.base, session.head) if side == "base" else (session.head, session.base)
        filters = Filters.from_arguments(self._asked.filters).as_arguments()
        return self._store.begin_run(
            RunRecord(
                suite=self._suite,
                device=place.device,
                environment=place.environment,
                revision=replace(one, branch=None),
                kind=self._asked.kind,
                origin="simulated" if place.device.simulated else "measured",
                started_at=datetime.now(UTC),
                planned_cells=sum(map(len, session.cells.values())),
                arguments=filters | {SIDE: side, "against": other.commit},
                request_id=self._asked.request_id,
            )
        )
