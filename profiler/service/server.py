"""The server: runs queued requests, one per device at a time, queues the nightly when due, judges each run.

A request that fails is marked as failed with its reason; it never ends the server.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from kswatch.db.backend.errors import ConnectionLostError
from kswatch.db.config import RequestLimits
from kswatch.db.coordination import leases, run_events
from kswatch.db.coordination import schedule as schedule_marks
from kswatch.db.coordination.workers import HEARTBEAT_TIMEOUT
from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import RequestRow
from kswatch.db.records import DeviceRecord
from kswatch.db.request_queue import requests
from kswatch.db.request_queue.estimates import estimate
from kswatch.db.request_queue.requests import RequestedRun
from kswatch.db.store import Store
from kswatch.errors import KswatchError, UsageError
from kswatch.profiler.devices.discovery import Target, kind_of
from kswatch.profiler.devices.nightly_devices import nightly_devices
from kswatch.profiler.liveness.heartbeat import coordinator_heartbeats
from kswatch.profiler.liveness.process_identity import has_ended, this_process
from kswatch.profiler.planning.plan import Filters, plan_suite
from kswatch.profiler.runs.concurrent_runs import ConcurrentRuns, RunThread
from kswatch.profiler.runs.problem_loop import RunResult
from kswatch.profiler.runs.progress import LogProgress
from kswatch.profiler.runs.session import RunContext
from kswatch.profiler.service.dead_man_switch import ping
from kswatch.profiler.service.night_requests import NIGHTLY
from kswatch.profiler.service.nightly import Judge, nightly_suite
from kswatch.profiler.service.request_runner import (
    RequestProgress,
    complete_request,
    limited_to_budget,
    measure_request,
    requeue_if_abandoned,
    requeue_or_fail,
)
from kswatch.profiler.service.schedule import missed, next_due, read_schedule
from kswatch.profiler.signals import EitherStop, Stopped

_log = logging.getLogger(__name__)

_SINCE: Final = "nightly since"
"""Name of the mark of the schedule's begin, which is never moved."""
SCHEDULE: Final = "schedule"
"""The user name of requests that no person made."""
_DUE_AT: Final = "nightly due at %Y-%m-%d %H:%M UTC"

_LONGEST_ABSENT: Final = timedelta(days=2)
"""A worker that was seen within it may come back for the night that is due."""

CheckMissingData = Callable[[], Any]
BisectAlerts = Callable[[Collection[str], threading.Event, Callable[[], bool]], None]
"""Searches the commits behind the alerts of these devices, until the event, or as long as nobody waits."""


class Server:
    """Runs queued requests until it is stopped."""

    def __init__(
        self,
        store: Store,
        context: RunContext,
        judge: Judge,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        limits: RequestLimits | None = None,
        check_missing_data: CheckMissingData = lambda: None,
        bisect: BisectAlerts = lambda devices, stop, must_stop: None,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        """Serve the requests of one store until `context.stop` is set.

        Args:
            store: Its requests are run.
            context: How each run is measured.
            judge: Judges a finished run by its id, and sends notifications.
            now: The clock of the schedule.
            limits: The cost limits of a request; None for none.
            check_missing_data: Updates and sends the alerts on runs that wait for a lost worker.
            bisect: Searches the commits behind confirmed regressions, once the queue is empty after a night.
            on_step: Called at each step, and before each commit of a bisection: the server goes on.
        """
        self._store = store
        self._context = context
        self._config = context.config
        self._schedule = read_schedule(self._config.nightly_cron, self._config.timezone)
        self._judge = judge
        self._now = now
        self._limits = limits
        self._check_missing_data = check_missing_data
        self._bisect = bisect
        self._on_step = on_step
        self._lost: set[int] = set()
        self._measured: set[str] = set()
        self._runs = ConcurrentRuns(store)

    def serve(self) -> None:
        """Run requests until the stop event is set; those on different devices at the same time."""
        self._log_start()
        context = self._context
        with coordinator_heartbeats(self._store, context.engine, context.heartbeats):
            while not self._context.stop.is_set():
                try:
                    self.step()
                except ConnectionLostError as error:
                    _log.warning("trying again: %s", error)
                    self._context.stop.wait(self._config.poll_s)
            while self._runs.in_progress:
                self.finish_runs(None)
        _log.info("stopped")

    def step(self) -> None:
        """Update the queue, start every request whose device is free, and finish the runs that end soon."""
        self._on_step()
        leases.correct_future_leases(self._store)
        self.requeue_abandoned()
        self.report_lost_workers()
        self.request_due_nightly()
        while self.start_next():
            pass
        self.finish_runs(self._config.poll_s)
        self.bisect_if_idle()

    def requeue_abandoned(self) -> None:
        """Queue the requests of servers that have ended again: their runs are resumed."""
        own = {run_thread.subject.id for run_thread in self._runs.in_progress}
        for request in queries.requests(self._store, states=("running",), limit=None):
            if request.id not in own:
                requeue_if_abandoned(self._store, request, self._config.lease_s, self._now())

    def report_lost_workers(self) -> None:
        """Check for missing data when a run has lost its worker, or got it back."""
        lost = {one.run_id for one in run_events.lost_runs(self._store)}
        if lost != self._lost:
            self._lost = lost
            self._check_missing_data()

    def request_due_nightly(self) -> None:
        """Queue the nightly of each device if it is due; nights missed without a server count once."""
        now = self._now()
        last = self._last_due(now)
        due = missed(self._schedule, last, now) if last else None
        if due is None:
            return
        devices = self._nightly_devices()
        if not devices and self._context.remote:
            return  # neither scheduler nor workers yet: the night stays due
        nights = [] if due in self._requested_nights() else self._nights_of(due, devices)
        with self._store.writing() as session:
            if schedule_marks.mark_due(session, NIGHTLY, due):
                for night in nights:
                    requests.add(session, night)

    def _last_due(self, now: datetime) -> datetime | None:
        """The last due time that was marked; None for a new store, which has missed nothing."""
        last = schedule_marks.last_due(self._store, NIGHTLY)
        if last is None:
            with self._store.writing() as session:
                for name in (NIGHTLY, _SINCE):
                    schedule_marks.mark_due(session, name, now)
            return None
        return last if last <= now else self._corrected(last, now)

    def _corrected(self, last: datetime, now: datetime) -> datetime:
        """The newest night that was queued up to now, in place of a mark by a clock that was ahead.

        Else all nights until that mark would be left out. One that was queued ahead of time is not repeated.
        """
        since = schedule_marks.last_due(self._store, _SINCE)
        known = self._requested_nights() | ({since} if since else set())
        right = max((moment for moment in known if moment <= now), default=now)
        due = next_due(self._schedule, now)
        if schedule_marks.correct_mark(self._store, NIGHTLY, last, right) and (due is None or last > due):
            _log.warning(
                "the last night is marked as of %s, in the future: the mark is set to %s", last, right
            )
        return right

    def _requested_nights(self) -> set[datetime]:
        """The due times that have been queued: marks may have been moved by wrong clocks, these were not."""
        nights = set()
        for request in queries.requests(self._store, limit=None):
            if request.kind == NIGHTLY and request.asked_by == SCHEDULE:
                with suppress(ValueError):  # of a version with another text
                    nights.add(datetime.strptime(request.why or "", _DUE_AT).replace(tzinfo=UTC))
        return nights

    def _nightly_devices(self) -> tuple[str, ...]:
        """The devices of a night; in a cluster also those whose worker left lately."""
        targets = list(self._context.list_devices())
        if self._context.remote:
            present = {target.record.uuid for target in targets}
            recent = queries.workers(self._store, seen_since=self._now() - _LONGEST_ABSENT)
            uuids = {one.device_uuid for one in recent if one.engine == self._context.engine}
            away = sorted(uuid for uuid in uuids - present if uuid is not None)
            targets += [Target(DeviceRecord(uuid, kind_of(uuid), uuid), "") for uuid in away]
        return nightly_devices(self._config, (), lambda: targets)

    def _nights_of(self, due: datetime, devices: Sequence[str]) -> list[RequestedRun]:
        """The nightly runs of a due time, without the devices whose earlier night still waits."""
        context = self._context
        queued = queries.requests(self._store, states=("queued",), limit=None)
        waiting = {request.device for request in queued if request.kind == NIGHTLY}
        return [
            RequestedRun(
                nightly_suite(self._config, device, context.find_device),
                device,
                asked_by=SCHEDULE,
                why=due.strftime(_DUE_AT),
                arguments={"budget": self._config.nightly_budget},
                kind=NIGHTLY,
            )
            for device in devices
            if device not in waiting
        ]

    def start_next(self) -> RunThread | None:
        """Start the first request whose device is available and free; None when there is none."""
        for request in requests.queued(self._store):
            try:
                target = self._context.find_device(request.device)
                self._check_cost_limit(request)
            except KswatchError as error:
                if not self._may_wait(request, error):
                    self._fail(request, str(error), take=True)
                continue
            if self._is_free(request, target) and (taken := requests.take(self._store, request.id)):
                message = f"request {taken.id} of {taken.asked_by}: {taken.suite} on {taken.device}"
                _log.info(message, extra={"device": target.record.uuid, "run": taken.run_id})
                return self._start(taken, target)
        return None

    def _may_wait(self, request: RequestRow, error: KswatchError) -> bool:
        """Whether the device may appear later, as a worker of the cluster, or belongs to another server."""
        if isinstance(error, UsageError):
            return False
        others = queries.workers(self._store, seen_since=self._now() - HEARTBEAT_TIMEOUT)
        servers = [one for one in others if one.role == "coordinator" and one.stopped_at is None]
        if not self._context.remote and all(one.name == this_process() for one in servers):
            return False
        self._wait(request, f"waits for its device: {error}")
        return True

    def _is_free(self, request: RequestRow, target: Target) -> bool:
        if not self._runs.is_free(target):
            return False
        holder = leases.holder_of(self._store, target.record.uuid)
        if holder is None or has_ended(holder):
            return True
        self._wait(request, f"waits: device {target.record.uuid} is being measured by {holder}")
        return False

    def _wait(self, request: RequestRow, message: str) -> None:
        if request.message != message:
            requests.record_wait_reason(self._store, request.id, message)

    def _check_cost_limit(self, request: RequestRow) -> None:
        """Refuse a request that exceeds the limits: a page cannot count the cells of a suite."""
        if request.cells_planned is None:
            chosen = Filters.from_arguments(request.arguments)
            cells = plan_suite(request.suite, chosen, foreign=self._context.foreign).cells
            timing, about = self._context.config.timing_limits, (request.suite, request.device)
            seconds = estimate(self._store, *about, request.arguments, timing, cells).seconds
            requests.record_plan(self._store, request.id, cells, seconds)
            if self._limits is None or request.kind != "ad_hoc":
                return
            if reason := self._limits.refusal(cells, limited_to_budget(seconds, request.arguments)):
                raise UsageError(reason)

    def _start(self, request: RequestRow, target: Target) -> RunThread:
        def measure(store: Store) -> RunResult | None:
            stop = EitherStop(self._context.stop)
            progress = RequestProgress(store, request.id, stop, LogProgress())
            context = replace(self._context, progress=progress, stop=stop)
            try:
                return measure_request(store, request, context)
            except Stopped:
                return None

        return self._runs.start(request, target, measure)

    def finish_runs(self, wait_s: float | None) -> None:
        """Wait up to `wait_s` for a run to end; judge the runs that have ended and finish their requests."""
        self._runs.wait(wait_s)
        for run_thread in self._runs.ended():
            try:
                self._finish(run_thread.subject, run_thread.future.result())
            except KswatchError as error:
                self._requeue_or_fail(run_thread, error)
            except Exception as error:  # a defect in one run must not end the nights of all others
                _log.exception(
                    "request %s: a defect", run_thread.subject.id, extra=_fields(run_thread.subject)
                )
                message = f"{type(error).__name__}: {error}; this is a defect, please report it"
                self._fail(run_thread.subject, message)

    def _finish(self, request: RequestRow, result: RunResult | None) -> None:
        complete_request(self._store, request, result, self._judge)
        if request.kind == NIGHTLY and result and result.state == "finished":
            ping(self._config)
            if not self._context.remote:
                self._measured.add(queries.run(self._store, result.run).device_uuid)

    def bisect_if_idle(self) -> None:
        """Search the commits behind the regressions of a night, until a request or the next night waits."""
        if not self._measured or self._runs.in_progress or requests.queued(self._store):
            return
        devices, self._measured = self._measured, set()
        due = next_due(self._schedule, self._now())

        def must_stop() -> bool:
            self._on_step()
            return bool(requests.queued(self._store)) or (due is not None and self._now() >= due)

        self._bisect(devices, self._context.stop, must_stop)

    def _requeue_or_fail(self, run_thread: RunThread, error: KswatchError) -> None:
        request: RequestRow = run_thread.subject
        uuid, devices = run_thread.target.record.uuid, self._context.list_devices
        is_absent = self._context.remote and uuid not in {target.record.uuid for target in devices()}
        if requeue_or_fail(self._store, request, error, is_absent):
            _log.warning("request %s waits: %s", request.id, error, extra=_fields(request))
        else:
            _log.error("request %s failed: %s", request.id, error, extra=_fields(request))

    def _fail(self, request: RequestRow, message: str, take: bool = False) -> None:
        taken = requests.take(self._store, request.id) if take else request
        if taken is None:
            return  # another server has it
        _log.error("request %s failed: %s", request.id, message, extra=_fields(request))
        requests.finish(self._store, request.id, "failed", message, taken.taken_at)

    def _log_start(self) -> None:
        due = next_due(self._schedule, self._now())
        night = f" and the nightly of {due:%Y-%m-%d %H:%M} UTC" if due else ""
        _log.info("waiting for requests%s; Ctrl-C stops the server", night)


def _fields(request: RequestRow) -> dict[str, object]:
    """Log fields of a message about a request."""
    return {"device": request.device, "run": request.run_id}
