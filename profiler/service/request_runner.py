"""A request's run: begun or resumed, its progress written to the request, cancelled when asked, its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from kswatch.db.artifacts.stored import NCU_REPORT
from kswatch.db.backend.errors import ConnectionLostError
from kswatch.db.coordination import leases
from kswatch.db.coordination.leases import DeviceBusyError
from kswatch.db.paired_runs.paired_record import SIDE
from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import RequestRow
from kswatch.db.records import CONFIRM, MeasurementRecord, RunKind
from kswatch.db.request_queue import events as request_events
from kswatch.db.request_queue import requests
from kswatch.db.store import Store
from kswatch.errors import KswatchError, UsageError
from kswatch.profiler.executors.base import WorkerLostError
from kswatch.profiler.liveness.process_identity import has_ended
from kswatch.profiler.planning.budget import parse_seconds
from kswatch.profiler.runs.problem_loop import RunResult
from kswatch.profiler.runs.progress import Progress
from kswatch.profiler.runs.session import RunContext, resume, run_suite
from kswatch.profiler.service.confirmation import measure_interleaved
from kswatch.profiler.service.requested_reports import keep_requested_reports
from kswatch.profiler.subjects.problems import AnyProblem


def measure_request(store: Store, request: RequestRow, context: RunContext) -> RunResult:
    """The rest of the run that was begun for the request before a server ended, or a new one; then reports.

    A confirmation is measured interleaved with the last good revision; where that is impossible, the reason
    is recorded in the request.
    """
    result = _measured(store, request, context)
    keep_requested_reports(store, request, result, context)
    return result


def _measured(store: Store, request: RequestRow, context: RunContext) -> RunResult:
    former = queries.run(store, request.run_id) if request.run_id is not None else None
    if former is not None and SIDE not in former.arguments:
        if former.state == "finished":
            return RunResult.of(former)
        with suppress(UsageError):  # another commit or environment now: its cells may not be mixed
            return resume(store, former.id, within_budget=True, context=context)
    if request.kind == CONFIRM:
        found = measure_interleaved(store, request, context)
        if isinstance(found, RunResult):
            return found
        request_events.record_unpaired(store, request.id, found)
    filters = dict(request.arguments)
    budget = filters.pop("budget", None)
    filters.pop(NCU_REPORT, None)
    return run_suite(
        store,
        request.suite,
        request.device,
        filters=filters,
        kind=cast(RunKind, request.kind),
        budget_s=parse_seconds(str(budget)) if budget else None,
        request_id=request.id,
        context=context,
    )


def run_confirmations(
    store: Store,
    devices: Collection[str],
    judge: Callable[[int], object],
    context: RunContext,
    now: datetime | None = None,
) -> None:
    """Run and judge the confirmations of these devices that wait, by their UUIDs, one after the other.

    Those of a process that has ended are among them. One that fails stops no other.
    """
    for request in reversed(queries.requests(store, states=("queued", "running"), limit=None)):
        if request.kind != CONFIRM or request.device not in devices:
            continue
        requeue_if_abandoned(store, request, context.config.lease_s, now or datetime.now(UTC))
        if context.stop.is_set() or (taken := requests.take(store, request.id)) is None:
            continue  # a server took it
        try:
            complete_request(store, taken, measure_request(store, taken, context), judge)
        except KswatchError as error:
            requeue_or_fail(store, taken, error)


def complete_request(
    store: Store, request: RequestRow, result: RunResult | None, judge: Callable[[int], Any]
) -> Any | None:  # noqa: ANN401  (the judgement is ci's)
    """Judge the finished run of a taken request, and record how the request ended; returns the judgement.

    The request of a run that was stopped is queued again, and `result` may be None for one that never began.
    """
    if result is None or result.state != "finished":
        if queries.request(store, request.id).cancel_asked:
            requests.finish(store, request.id, "cancelled", taken_at=request.taken_at)
        else:
            message = "its process was stopped; the run will be resumed"
            requests.requeue(store, request.id, message, request.taken_at)
        return None
    judged = judge(result.run)
    counts = ", ".join(f"{count} {status}" for status, count in result.by_status.items())
    message = "; ".join(
        filter(None, (f"run {result.run}: {counts}", request_events.reports_of(store, request.id)))
    )
    requests.finish(store, request.id, "done", message, request.taken_at)
    return judged


def requeue_or_fail(store: Store, request: RequestRow, error: KswatchError, is_absent: bool = False) -> bool:
    """Queue a taken request again where its device gets free or comes back, or the database does.

    `is_absent` means that the device is gone, whatever the error is. Returns whether it was queued.
    """
    if is_absent or isinstance(error, (WorkerLostError, ConnectionLostError, DeviceBusyError)):
        lost_part = "database" if isinstance(error, ConnectionLostError) else "device"
        requests.requeue(store, request.id, f"waits for its {lost_part}: {error}", request.taken_at)
        return True
    requests.finish(store, request.id, "failed", str(error), request.taken_at)
    return False


def requeue_if_abandoned(store: Store, request: RequestRow, lease_s: float, now: datetime) -> bool:
    """Queue the running request of a process that has ended again; True where it was."""
    if request.state != "running" or not _is_abandoned(store, request, lease_s, now):
        return False
    message = "its server ended; the run will be resumed"
    requests.requeue(store, request.id, message, request.taken_at)
    return True


def _is_abandoned(store: Store, request: RequestRow, lease_s: float, now: datetime) -> bool:
    """Whether its process is gone: without a lease it has `lease_s` to begin the run, and to judge it."""
    since = request.taken_at
    if request.run_id is not None:
        run = queries.run(store, request.run_id)
        holder = leases.holder_of(store, run.device_uuid)
        if holder is not None:
            return has_ended(holder)
        since = run.finished_at or since
    return since is None or now - since > timedelta(seconds=lease_s)


def limited_to_budget(seconds: float | None, arguments: Mapping[str, object]) -> float | None:
    """The estimated seconds of a run, or its budget where that is less."""
    budget = arguments.get("budget")
    limit_s = parse_seconds(str(budget)) if budget else None
    return min(filter(None, (seconds, limit_s)), default=None)


class RequestProgress(Progress):
    """Writes a run's progress to its request, shows it, and stops the run when the request is cancelled."""

    def __init__(self, store: Store, request_id: int, stop: threading.Event, shown: Progress) -> None:
        super().__init__()
        self._shown = shown
        self.cancelled = False
        self._store = store
        self._request_id = request_id
        self._stop = stop
        self._cells = 0
        self._message: str | None = None

    def begin(self, title: str, problems: int, cells: int) -> None:
        """Record the number of cells of the whole run, and how many of them an earlier start has done."""
        super().begin(title, problems, cells)
        self._shown.begin(title, problems, cells)
        run_id = queries.request(self._store, self._request_id).run_id
        self._cells = len(self._store.done_cells(run_id)) if run_id is not None else 0
        self._record_progress(cells_planned=self._cells + cells)

    def note(self, sentence: str) -> None:
        """Keep it as the request's message."""
        self._message = sentence
        self._shown.note(sentence)

    def recorded(self, records: Sequence[MeasurementRecord]) -> None:
        """Record the progress; stop the run if the request was cancelled."""
        super().recorded(records)
        self._shown.recorded(records)
        self._cells += len(records)
        self._record_progress()

    def starting(self, problem: AnyProblem) -> None:
        """Show it."""
        self._shown.starting(problem)

    def left_out(self, records: Sequence[MeasurementRecord]) -> None:
        """Show it."""
        self._shown.left_out(records)

    def end(self, sentence: str) -> None:
        """Show how it ended."""
        if self.left_s is not None:
            sentence += f" ({self.done} of {self.problems} problems)"
        self._shown.end(sentence)

    def _record_progress(self, cells_planned: int | None = None) -> None:
        self.cancelled = requests.record_progress(
            self._store, self._request_id, self._cells, cells_planned, self.left_s, self._message
        )
        if self.cancelled:
            self._stop.set()
