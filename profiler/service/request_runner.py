"""A request's run: begun or resumed, its progress written to the request, cancelled when asked."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import cast

from kswatch.db.paired_runs.paired_record import SIDE
from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import RequestRow
from kswatch.db.records import MeasurementRecord, RunKind
from kswatch.db.request_queue import events as request_events
from kswatch.db.request_queue import requests
from kswatch.db.store import Store
from kswatch.errors import KswatchError, UsageError
from kswatch.profiler.planning.budget import parse_seconds
from kswatch.profiler.runs.problem_loop import RunResult
from kswatch.profiler.runs.progress import Progress
from kswatch.profiler.runs.session import Surroundings, resume, run_suite
from kswatch.profiler.service import confirmation as in_turns
from kswatch.profiler.signals import Stopped


def measure_request(store: Store, request: RequestRow, surroundings: Surroundings) -> RunResult:
    """The rest of the run that was begun for the request before a server ended, or a new one.

    What is to be confirmed is measured in turns with the last good revision; where that cannot be, the
    request says why.
    """
    begun = queries.run(store, request.run_id) if request.run_id is not None else None
    if begun is not None and SIDE not in begun.arguments:
        if begun.state == "finished":
            return RunResult.of(begun)
        with suppress(UsageError):  # another commit or environment now: its cells may not be mixed
            return resume(store, begun.id, surroundings=surroundings)
    if request.kind == in_turns.KIND:
        found = in_turns.measure_in_turns(store, request, surroundings)
        if isinstance(found, RunResult):
            return found
        request_events.say_alone(store, request.id, found)
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
        surroundings=surroundings,
    )


def run_requests(
    store: Store, request_ids: Sequence[int], judge: Callable[[int], object], surroundings: Surroundings
) -> None:
    """Run these queued requests one after the other, and judge each; one that fails stops no other."""
    for request_id in request_ids:
        request = requests.take(store, request_id)
        if request is None:
            continue  # a server took it
        try:
            result = measure_request(store, request, surroundings)
        except Stopped:
            requests.give_back(store, request_id, "the night was stopped", request.taken_at)
            continue
        except KswatchError as error:
            requests.finish(store, request_id, "failed", str(error))
            continue
        if result.state != "finished":
            requests.give_back(store, request_id, "the night was stopped", request.taken_at)
            continue
        judge(result.run)
        requests.finish(store, request_id, "done", f"run {result.run}")


def within(seconds: float | None, arguments: Mapping[str, object]) -> float | None:
    """What a run takes at most that would take so many seconds, and may have a budget."""
    budget = arguments.get("budget")
    limit_s = parse_seconds(str(budget)) if budget else None
    return min(filter(None, (seconds, limit_s)), default=None)


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
        say(sentence)

    def _tell(self, cells_planned: int | None = None) -> None:
        self.cancelled = requests.progress(
            self._store, self._request_id, self._cells, cells_planned, self.left_s, self._message
        )
        if self.cancelled:
            self._stop.set()


def say(sentence: str) -> None:
    """Tell on the server's own output."""
    print(f"kswatch serve: {sentence}", file=sys.stderr, flush=True)
