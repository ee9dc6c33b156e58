"""Serving: takes asked-for runs one after the other, asks for the nightly when it is due, judges each.

A request that fails is marked as failed with its reason; it never ends the server.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from db import leases, queries, requests, schedule_marks
from db.queries import RequestRow
from db.records import MeasurementRecord, RunKind
from db.store import Store
from kswatch_errors import KswatchError, UsageError
from profiler.budget import parse_seconds
from profiler.holding import is_gone
from profiler.interruption import EitherStop, Stopped
from profiler.nightly import night_devices, night_suite
from profiler.problem_loop import RunResult
from profiler.progress import Progress
from profiler.schedule import missed, next_due, trigger
from profiler.session import Surroundings, resume, run_suite

NIGHTLY: Final = "nightly"
"""Name of the schedule's mark, and the kind of its runs."""

_STARTS_WITHIN = timedelta(minutes=3)
"""A taken request whose device nobody holds after so long was taken by a server that died."""

Judge = Callable[[int], Any]


class Server:
    """Runs what is asked for until it is told to stop."""

    def __init__(
        self,
        store: Store,
        surroundings: Surroundings,
        judge: Judge,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Serve one store; `surroundings.stop` ends it.

        Args:
            store: Whose requests.
            surroundings: How each run is measured.
            judge: Judges a finished run by its id, and tells people.
            now: The clock that the schedule goes by.
        """
        self._store = store
        self._surroundings = surroundings
        self._config = surroundings.config
        self._schedule = trigger(self._config.nightly_cron, self._config.timezone)
        self._judge = judge
        self._now = now

    def serve(self) -> None:
        """Take requests until told to stop."""
        self._say_what_is_awaited()
        while not self._surroundings.stop.is_set():
            self.take_back()
            self.ask_for_due_night()
            if self.run_next():
                self._say_what_is_awaited()
            else:
                self._surroundings.stop.wait(self._config.poll_s)
        _say("stopped")

    def take_back(self) -> None:
        """Queue again what a server that is no more had taken: its run is resumed."""
        for request in queries.requests(self._store, states=("running",), limit=None):
            if self._is_abandoned(request):
                requests.give_back(self._store, request.id, "its server ended; the run will be resumed")

    def _is_abandoned(self, request: RequestRow) -> bool:
        holder = None
        if request.run_id is not None:
            run = queries.run(self._store, request.run_id)
            holder = leases.holder_of(self._store, run.device_uuid)
        if holder is not None:
            return is_gone(holder)
        return request.taken_at is None or self._now() - request.taken_at > _STARTS_WITHIN

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
        for device in night_devices(self._config):
            requests.ask(
                self._store,
                night_suite(self._config, device),
                device,
                asked_by="schedule",
                why=f"nightly due at {due:%Y-%m-%d %H:%M} UTC",
                arguments={"budget": self._config.nightly_budget},
                kind=NIGHTLY,
            )

    def run_next(self) -> bool:
        """Run the request whose turn it is, and judge it; False when none waits."""
        request = requests.take_next(self._store)
        if request is None:
            return False
        _say(f"request {request.id} of {request.asked_by}: {request.suite} on {request.device}")
        try:
            self._run(request)
        except KswatchError as error:
            self._fail(request, str(error))
        except Exception as error:  # a defect in one run must not end the nights of all others
            sys.excepthook(*sys.exc_info())
            self._fail(request, f"{type(error).__name__}: {error}; this is a defect, please report it")
        return True

    def _run(self, request: RequestRow) -> None:
        stop = EitherStop(self._surroundings.stop)
        progress = RequestProgress(self._store, request.id, stop)
        surroundings = replace(self._surroundings, progress=progress, stop=stop)
        try:
            result = self._measure(request, surroundings)
        except Stopped:
            result = None
        if result and result.state == "finished":
            self._judge(result.run)
            counts = ", ".join(f"{count} {status}" for status, count in result.by_status.items())
            requests.finish(self._store, request.id, "done", f"run {result.run}: {counts}")
        elif progress.cancelled:
            requests.finish(self._store, request.id, "cancelled")
        else:
            requests.give_back(self._store, request.id, "the server was stopped; the run will be resumed")

    def _measure(self, request: RequestRow, surroundings: Surroundings) -> RunResult:
        """The rest of the run that was begun for the request before a server ended, or a new one."""
        if request.run_id is not None:
            begun = queries.run(self._store, request.run_id)
            if begun.state == "finished":
                return RunResult.of(begun)
            with suppress(UsageError):  # another commit or environment now: its cells may not be mixed
                return resume(self._store, begun.id, surroundings=surroundings)
        filters = dict(request.arguments)
        budget = filters.pop("budget", None)
        return run_suite(
            self._store,
            request.suite,
            request.device,
            filters=filters,
            kind=cast(RunKind, request.kind),
            budget_s=parse_seconds(str(budget)) if budget else None,
            request_id=request.id,
            surroundings=surroundings,
        )

    def _fail(self, request: RequestRow, message: str) -> None:
        _say(f"request {request.id} failed: {message}")
        requests.finish(self._store, request.id, "failed", message)

    def _say_what_is_awaited(self) -> None:
        due = next_due(self._schedule, self._now())
        night = f" and the nightly of {due:%Y-%m-%d %H:%M} UTC" if due else ""
        _say(f"waiting for requests{night}; Ctrl-C ends")


class RequestProgress(Progress):
    """Writes a run's progress to its request, and hears there whether it is cancelled."""

    def __init__(self, store: Store, request_id: int, stop: threading.Event) -> None:
        super().__init__()
        self.cancelled = False
        self._store = store
        self._request_id = request_id
        self._stop = stop
        self._cells = 0
        self._message: str | None = None

    def begin(self, title: str, problems: int, cells: int) -> None:
        """Write how much is to be done."""
        super().begin(title, problems, cells)
        self._tell(cells_planned=cells)

    def note(self, sentence: str) -> None:
        """Keep it as the request's message."""
        self._message = sentence

    def recorded(self, records: Sequence[MeasurementRecord]) -> None:
        """Write how far it is; stop the run if somebody asked to cancel it."""
        super().recorded(records)
        self._cells += len(records)
        self._tell()

    def end(self, sentence: str) -> None:
        """Say it on the server's own output."""
        if self.left_s is not None:
            sentence += f" ({self.done} of {self.problems} problems)"
        _say(sentence)

    def _tell(self, cells_planned: int | None = None) -> None:
        self.cancelled = requests.progress(
            self._store, self._request_id, self._cells, cells_planned, self.left_s, self._message
        )
        if self.cancelled:
            self._stop.set()


def _say(sentence: str) -> None:
    print(f"kswatch serve: {sentence}", file=sys.stderr, flush=True)
