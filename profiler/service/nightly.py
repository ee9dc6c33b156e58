"""The nightly run: every device of the host, all at once, measured and judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from kswatch.db.coordination import leases
from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import RequestRow
from kswatch.db.request_queue import requests
from kswatch.db.request_queue.requests import RequestedRun
from kswatch.db.store import Store
from kswatch.errors import KswatchError
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.planning.budget import parse_seconds
from kswatch.profiler.runs.concurrent_runs import ConcurrentRuns, RunThread
from kswatch.profiler.runs.problem_loop import RunResult
from kswatch.profiler.runs.session import RunContext
from kswatch.profiler.service.night_requests import COMMAND, NIGHTLY, NightRequests, request_night
from kswatch.profiler.service.request_runner import (
    RequestProgress,
    complete_request,
    measure_request,
    requeue_or_fail,
)
from kswatch.profiler.signals import EitherStop

Judge = Callable[[int], Any]
"""Judges a run by its id; composed by the command line, since the profiler does not import `ci`."""


@dataclass(frozen=True)
class DeviceNight:
    """The result of one device's night."""

    device: str
    suite: str
    run: RunResult | None = None
    judged: Any = None
    error: str | None = None
    """Why it could not be measured or judged."""

    @property
    def exit_code(self) -> int:
        """3 where nothing was measured, else that of the judgement."""
        return 3 if self.run is None else int(getattr(self.judged, "exit_code", 0))


def nightly_suite(
    config: ProfilerConfig, device: str, find: Callable[[str], devices.Target] = devices.find
) -> str:
    """The suite of the nightly run on this device; an absent one is known by its UUID, or counts as a GPU."""
    with suppress(KswatchError):
        if find(device).record.kind == "cpu":
            return config.cpu_suite
        return config.gpu_suite
    return config.cpu_suite if devices.kind_of(device) == "cpu" else config.gpu_suite


def run_night(
    store: Store,
    specs: Sequence[str],
    suite: str | None,
    budget_s: float | None,
    judge: Judge,
    context: RunContext,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Iterator[DeviceNight]:
    """Measure all devices at once, each in a process of its own, and judge each when it is done.

    One that cannot be measured stops no other; one that would be disturbed by another waits for it. Where an
    earlier start of the same night was killed, this one measures what that left.
    """
    runs, defects = ConcurrentRuns(store), list[Exception]()
    present, absent = _targets(context, suite, specs)
    yield from absent
    limit_s = budget_s or parse_seconds(context.config.nightly_budget)
    found = request_night(
        store,
        {target.record.uuid: _request_of(night, target, limit_s) for night, target in present},
        context.find_device,
        context.config.lease_s,
        now(),
    )
    yield from _not_measured_here(store, present, found)
    waiting = [(night, target) for night, target in present if target.record.uuid in found.queued]
    several = len(waiting) > 1
    while (waiting and not context.stop.is_set()) or runs.in_progress:
        for night, target in list(waiting):
            if runs.is_free(target) and not context.stop.is_set():
                waiting.remove((night, target))
                request = requests.take(store, found.queued[target.record.uuid])
                if request is None:
                    yield replace(night, error=f"device {target.record.uuid} is measured by a server")
                else:
                    _start(runs, night, request, target, context, several)
        if runs.in_progress:
            runs.wait()
        for run_thread in runs.ended():
            try:
                night = _finished(store, run_thread, judge)
            except Exception as error:  # a defect in one run must not end the nights of all others
                defects.append(error)
            else:
                yield night
    if defects:
        raise defects[0]


def _request_of(night: DeviceNight, target: devices.Target, limit_s: float) -> RequestedRun:
    """The night's request: by UUID, since `cpu` means another device on another host of the same store."""
    device = night.device if target.record.simulated else target.record.uuid
    arguments = {"budget": f"{limit_s:.3f}s"}
    return RequestedRun(night.suite, device, asked_by=COMMAND, arguments=arguments, kind=NIGHTLY)


def _not_measured_here(
    store: Store, present: Sequence[tuple[DeviceNight, devices.Target]], found: NightRequests
) -> Iterator[DeviceNight]:
    """The nights that an earlier start of the command has finished, and those of another process."""
    for night, target in present:
        uuid = target.record.uuid
        if uuid in found.done and (run_id := found.done[uuid].run_id) is not None:
            yield replace(night, device=uuid, run=RunResult.of(queries.run(store, run_id)))
        elif uuid in found.taken:
            by = leases.holder_of(store, uuid) or "another process"
            yield replace(
                night, error=f"device {uuid} is being measured by {by}; wait for it to end, or stop it"
            )


def _start(
    runs: ConcurrentRuns,
    night: DeviceNight,
    request: RequestRow,
    target: devices.Target,
    context: RunContext,
    several: bool,
) -> None:
    """Measure the request in a thread of its own, with progress lines that name the device of several."""
    # a bar cannot show several runs
    shown = context.progress.for_device(target.record.uuid) if several else context.progress
    stop = EitherStop(context.stop)

    def measure(store: Store) -> RunResult:
        progress = RequestProgress(store, request.id, stop, shown)
        return measure_request(store, request, replace(context, progress=progress, stop=stop))

    runs.start((night, request), target, measure)


def _targets(
    context: RunContext, suite: str | None, specs: Sequence[str]
) -> tuple[list[tuple[DeviceNight, devices.Target]], list[DeviceNight]]:
    """The available devices, each once, with what is measured there; and those that are absent."""
    present: dict[str, tuple[DeviceNight, devices.Target]] = {}
    absent = []
    for spec in specs:
        night = DeviceNight(spec, suite or nightly_suite(context.config, spec, context.find_device))
        try:
            target = context.find_device(spec)
        except KswatchError as error:
            absent.append(replace(night, error=str(error)))
        else:
            present.setdefault(target.record.uuid, (night, target))
    return list(present.values()), absent


def _finished(store: Store, run_thread: RunThread, judge: Judge) -> DeviceNight:
    """The night with its run and judgement; one that was interrupted is judged when it is resumed."""
    subject: tuple[DeviceNight, RequestRow] = run_thread.subject
    night, request = subject
    try:
        run = run_thread.future.result()
        night = replace(night, device=run_thread.target.record.uuid, run=run)
        return replace(night, judged=complete_request(store, request, run, judge))
    except KswatchError as error:
        message = f"measured but not judged: {error}" if night.run else str(error)
        if requeue_or_fail(store, request, error):
            message += "; `kswatch nightly` within 12 hours, or `kswatch serve`, finishes this night"
        return replace(night, error=message)
    except Exception as error:
        message = f"{type(error).__name__}: {error}; this is a defect, please report it"
        requests.finish(store, request.id, "failed", message, request.taken_at)
        raise
