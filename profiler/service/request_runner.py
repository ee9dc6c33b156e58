"""A request's run: begun or resumed, its progress written to the request, cancelled when asked."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import cast

from kswatch.db.coordination.leases import DeviceBusyError
from kswatch.db.paired_runs.paired_record import SIDE
from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import RequestRow
from kswatch.db.records import CONFIRM, MeasurementRecord, RunKind
from kswatch.db.request_queue import events as request_events
from kswatch.db.request_queue import requests
from kswatch.db.store import Store
from kswatch.errors import KswatchError, UsageError
from kswatch.kernels.problem import Problem
from kswatch.profiler.planning.budget import parse_seconds
from kswatch.profiler.runs.problem_loop import RunResult
from kswatch.profiler.runs.progress import Progress
from kswatch.profiler.runs.session import RunContext, resume, run_suite
from kswatch.profiler.service.confirmation import measure_interleaved
from kswatch.profiler.signals import Stopped

_log = logging.getLogger(__name__)


def measure_request(store: Store, request: RequestRow, context: RunContext) -> RunResult:
    """The rest of the run that was begun for the request before a server ended, or a new one.

    A confirmation is measured interleaved with the last good revision; where that is impossible, the reason
    is recorded in the request.
    """
    former = queries.run(store, request.run_id) if request.run_id is not None else None
    if former is not None and SIDE not in former.arguments:
        if former.state == "finished":
            return RunResult.of(former)
        with suppress(UsageError):  # another commit or environment now: its cells may not be mixed
            return resume(store, former.id, context=context)
    if request.kind == CONFIRM:
        found = measure_interleaved(store, request, context)
        if isinstance(found, RunResult):
            return found
        request_events.record_unpaired(store, request.id, found)
    filters = dict(request.arguments)
    budget = filters.pop("budget", None)
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


def run_requests(
    store: Store, request_ids: Sequence[int], judge: Callable[[int], object], context: RunContext
) -> None:
    """Run these queued requests one after the other, and judge each; one that fails stops no other."""
    for request_id in request_ids:
        request = requests.take(store, request_id)
        if request is None:
            continue  # a server took it
        try:
            result = measure_request(store, request, context)
            if result.state != "finished":
                raise Stopped
        except Stopped:
            requests.requeue(store, request_id, "the night was stopped", request.taken_at)
        except DeviceBusyError as error:
            requests.requeue(store, request_id, f"waits for its device: {error}", request.taken_at)
        except KswatchError as error:
            requests.finish(store, request_id, "failed", str(error))
        else:
            judge(result.run)
            requests.finish(store, request_id, "done", f"run {result.run}")


def limited_to_budget(seconds: float | None, arguments: Mapping[str, object]) -> float | None:
    """The estimated seconds of a run, or its budget where that is less."""
    budget = arguments.get("budget")
    limit_s = parse_seconds(str(budget)) if budget else None
    return min(filter(None, (seconds, limit_s)), default=None)


class RequestProgress(Progress):
    """Writes a run's progress to its request, and stops the run when the request is cancelled."""

    def __init__(self, store: Store, request_id: int, stop: threading.Event) -> None:
        super().__init__()
        self.cancelled = False
        self._store = store
        self._request_id = request_id
        self._stop = stop
        self._cells = 0
        self._message: str | None = None

    def begin(self, title: str, problems: int, cells: int) -> None:
        """Record the number of cells of the whole run, and how many of them an earlier start has done."""
        super().begin(title, problems, cells)
        run_id = queries.request(self._store, self._request_id).run_id
        self._cells = len(self._store.done_cells(run_id)) if run_id is not None else 0
        self._record_progress(cells_planned=self._cells + cells)

    def note(self, sentence: str) -> None:
        """Keep it as the request's message."""
        self._message = sentence

    def recorded(self, records: Sequence[MeasurementRecord]) -> None:
        """Record the progress; stop the run if the request was cancelled."""
        super().recorded(records)
        self._cells += len(records)
        self._record_progress()

    def starting(self, problem: Problem) -> None:
        """Log the problem, for debugging."""
        _log.debug("request %s: measuring %s", self._request_id, problem)

    def end(self, sentence: str) -> None:
        """Log how it ended."""
        if self.left_s is not None:
            sentence += f" ({self.done} of {self.problems} problems)"
        _log.info("%s", sentence)

    def _record_progress(self, cells_planned: int | None = None) -> None:
        self.cancelled = requests.record_progress(
            self._store, self._request_id, self._cells, cells_planned, self.left_s, self._message
        )
        if self.cancelled:
            self._stop.set()
