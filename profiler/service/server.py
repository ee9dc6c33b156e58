"""Serving: takes asked-for runs, one per device at a time, asks for the nightly when due, judges each.

A request that fails is marked as failed with its reason; it never ends the server.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from kswatch.db.backend.errors import ConnectionLostError
from kswatch.db.coordination import leases, lost_workers
from kswatch.db.coordination import schedule as schedule_marks
from kswatch.db.coordination.workers import SILENT_AFTER
from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import RequestRow
from kswatch.db.request_queue import requests
from kswatch.db.request_queue.requests import Limits
from kswatch.db.store import Store
from kswatch.errors import KswatchError, UsageError
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.executors.base import WorkerLostError
from kswatch.profiler.liveness.device_lease import is_gone, this_process
from kswatch.profiler.liveness.heartbeat import coordinating
from kswatch.profiler.planning.plan import Filters, plan_suite
from kswatch.profiler.runs.concurrent_runs import Lane, Lanes
from kswatch.profiler.runs.problem_loop import RunResult
from kswatch.profiler.runs.session import Surroundings
from kswatch.profiler.service import dead_man_switch as night_call
from kswatch.profiler.service.nightly import night_devices, night_suite
from kswatch.profiler.service.request_runner import RequestProgress, measure_request, say, within
from kswatch.profiler.service.schedule import missed, next_due, trigger
from kswatch.profiler.signals import EitherStop, Stopped

NIGHTLY: Final = "nightly"
"""Name of the schedule's mark, and the kind of its runs."""

Judge = Callable[[int], Any]
LookAround = Callable[[], Any]


class Server:
    """Runs what is asked for until it is told to stop."""

    def __init__(
        self,
        store: Store,
        surroundings: Surroundings,
        judge: Judge,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        limits: Limits | None = None,
        look_around: LookAround = lambda: None,
    ) -> None:
        """Serve one store; `surroundings.stop` ends it.

        Args:
            store: Whose requests.
            surroundings: How each run is measured.
            judge: Judges a finished run by its id, and tells people.
            now: The clock that the schedule goes by.
            limits: What one request may cost; None for none.
            look_around: Tells people of runs that wait for a lost worker, and of those that no longer do.
        """
        self._store = store
        self._surroundings = surroundings
        self._config = surroundings.config
        self._schedule = trigger(self._config.nightly_cron, self._config.timezone)
        self._judge = judge
        self._now = now
        self._limits = limits
        self._look_around = look_around
        self._lost: set[int] = set()
        self._lanes = Lanes(store)

    def serve(self) -> None:
        """Take requests until told to stop; runs on different devices go on at once."""
        self._say_what_is_awaited()
        around = self._surroundings
        with coordinating(self._store, around.engine, around.signs):
            while not self._surroundings.stop.is_set():
                try:
                    self._turn()
                except ConnectionLostError as error:
                    say(f"tries again: {error}")
                    self._surroundings.stop.wait(self._config.poll_s)
            while self._lanes.under_way:
                self.end_lanes(None)
        say("stopped")

    def _turn(self) -> None:
        self.take_back()
        self.tell_of_lost()
        self.ask_for_due_night()
        while self.start_next():
            pass
        self.end_lanes(self._config.poll_s)

    def take_back(self) -> None:
        """Queue again what a server that is no more had taken: its run is resumed."""
        ours = {lane.about.id for lane in self._lanes.under_way}
        for request in queries.requests(self._store, states=("running",), limit=None):
            if request.id not in ours and self._is_abandoned(request):
                message = "its server ended; the run will be resumed"
                requests.give_back(self._store, request.id, message, request.taken_at)

    def _is_abandoned(self, request: RequestRow) -> bool:
        """Without a lease, whoever took it has so long to begin its run, and to judge it at the end."""
        since = request.taken_at
        if request.run_id is not None:
            run = queries.run(self._store, request.run_id)
            holder = leases.holder_of(self._store, run.device_uuid)
            if holder is not None:
                return is_gone(holder)
            since = run.finished_at or since
        return since is None or self._now() - since > timedelta(seconds=self._config.lease_s)

    def tell_of_lost(self) -> None:
        """Have people told when a run lost its worker, and when one goes on."""
        lost = {one.run_id for one in lost_workers.lost_runs(self._store)}
        if lost != self._lost:
            self._lost = lost
            self._look_around()

    def ask_for_due_night(self) -> None:
        """Queue the nightly of each device if it is due; nights missed while nobody served count once."""
        now = self._now()
        last = schedule_marks.last_due(self._store, NIGHTLY)
        if last is None:
            schedule_marks.mark_due(self._store, NIGHTLY, now)  # a new store has missed nothing
            return
        due = missed(self._schedule, last, now)
        if due is None or not schedule_marks.mark_due(self._store, NIGHTLY, due):
            return
        around = self._surroundings
        queued = queries.requests(self._store, states=("queued",), limit=None)
        waiting = {request.device for request in queued if request.kind == NIGHTLY}
        for device in night_devices(self._config, (), around.list_devices):
            if device in waiting:
                continue  # still waits for its device since an earlier night
            requests.ask(
                self._store,
                night_suite(self._config, device, around.find_device),
                device,
                asked_by="schedule",
                why=f"nightly due at {due:%Y-%m-%d %H:%M} UTC",
                arguments={"budget": self._config.nightly_budget},
                kind=NIGHTLY,
            )

    def run_next(self) -> bool:
        """Run the request whose turn it is to its end, and judge it; False when none can be run now."""
        lane = self.start_next()
        if lane is None:
            return False
        while lane in self._lanes.under_way:
            self.end_lanes(None)
        return True

    def start_next(self) -> Lane | None:
        """Begin the first request whose device is here and free; None when there is none."""
        for request in self._in_turn():
            try:
                target = self._surroundings.find_device(request.device)
                self._refuse_what_costs_too_much(request)
            except KswatchError as error:
                if not self._may_wait(request, error):
                    self._fail(request, str(error), take=True)
                continue
            if self._is_free(request, target) and (taken := requests.take(self._store, request.id)):
                say(f"request {taken.id} of {taken.asked_by}: {taken.suite} on {taken.device}")
                return self._start(taken, target)
        return None

    def _in_turn(self) -> list[RequestRow]:
        queued = queries.requests(self._store, states=("queued",), limit=None)
        return sorted(queued, key=lambda request: (-request.priority, request.id))

    def _may_wait(self, request: RequestRow, error: KswatchError) -> bool:
        """Whether the device may still come: as a worker of the cluster, or another server may have it."""
        if isinstance(error, UsageError):
            return False
        others = queries.workers(self._store, seen_since=self._now() - SILENT_AFTER)
        servers = [one for one in others if one.role == "coordinator" and one.stopped_at is None]
        if not self._surroundings.distant and all(one.name == this_process() for one in servers):
            return False
        self._wait(request, f"waits for its device: {error}")
        return True

    def _is_free(self, request: RequestRow, target: Target) -> bool:
        if not self._lanes.is_free(target):
            return False
        holder = leases.holder_of(self._store, target.record.uuid)
        if holder is None or is_gone(holder):
            return True
        self._wait(request, f"waits: device {target.record.uuid} is being measured by {holder}")
        return False

    def _wait(self, request: RequestRow, message: str) -> None:
        if request.message != message:
            requests.wait(self._store, request.id, message)

    def _refuse_what_costs_too_much(self, request: RequestRow) -> None:
        """A page cannot count the cells of a suite: what it let through is refused here."""
        if request.cells_planned is None:
            cells = plan_suite(request.suite, Filters.from_arguments(request.arguments)).cells
            seconds = requests.estimated_seconds(self._store, request.device, cells)
            requests.plan(self._store, request.id, cells, seconds)
            if self._limits is None or request.kind != "ad_hoc":
                return
            if reason := self._limits.refusal(cells, within(seconds, request.arguments)):
                raise UsageError(reason)

    def _start(self, request: RequestRow, target: Target) -> Lane:
        def measure(store: Store) -> RunResult | None:
            stop = EitherStop(self._surroundings.stop)
            progress = RequestProgress(store, request.id, stop)
            surroundings = replace(self._surroundings, progress=progress, stop=stop)
            try:
                return measure_request(store, request, surroundings)
            except Stopped:
                return None

        return self._lanes.start(request, target, measure)

    def end_lanes(self, wait_s: float | None) -> None:
        """Judge the runs that have ended, after waiting for one for so long, and end their requests."""
        self._lanes.wait(wait_s)
        for lane in self._lanes.ended():
            try:
                self._end(lane.about, lane.join())
            except KswatchError as error:
                self._give_back_or_fail(lane, error)
            except Exception as error:  # a defect in one run must not end the nights of all others
                sys.excepthook(*sys.exc_info())
                told = f"{type(error).__name__}: {error}; this is a defect, please report it"
                self._fail(lane.about, told)

    def _end(self, request: RequestRow, result: RunResult | None) -> None:
        end = partial(requests.finish, self._store, request.id, taken_at=request.taken_at)
        if result and result.state == "finished":
            self._judge(result.run)
            counts = ", ".join(f"{count} {status}" for status, count in result.by_status.items())
            end("done", f"run {result.run}: {counts}")
            if request.kind == NIGHTLY:
                night_call.call(self._config)
        elif queries.request(self._store, request.id).cancel_asked:
            end("cancelled")
        else:
            message = "the server was stopped; the run will be resumed"
            requests.give_back(self._store, request.id, message, request.taken_at)

    def _give_back_or_fail(self, lane: Lane, error: KswatchError) -> None:
        """What went away may come back, or just has, a device of the cluster or the database: resume then."""
        request: RequestRow = lane.about
        lost = isinstance(error, (WorkerLostError, ConnectionLostError))
        if lost or (self._surroundings.distant and not self._is_here(lane.target)):
            say(f"request {request.id} waits: {error}")
            what = "database" if isinstance(error, ConnectionLostError) else "device"
            requests.give_back(self._store, request.id, f"waits for its {what}: {error}", request.taken_at)
        else:
            self._fail(request, str(error))

    def _is_here(self, target: Target) -> bool:
        known = self._surroundings.list_devices()
        return any(one.record.uuid == target.record.uuid for one in known)

    def _fail(self, request: RequestRow, message: str, take: bool = False) -> None:
        taken = requests.take(self._store, request.id) if take else request
        if taken is None:
            return  # somebody else has it
        say(f"request {request.id} failed: {message}")
        requests.finish(self._store, request.id, "failed", message, taken.taken_at)

    def _say_what_is_awaited(self) -> None:
        due = next_due(self._schedule, self._now())
        night = f" and the nightly of {due:%Y-%m-%d %H:%M} UTC" if due else ""
        say(f"waiting for requests{night}; Ctrl-C ends")
