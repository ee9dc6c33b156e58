"""The nightly run: every device of the host, all at once, measured and judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from kswatch.db.store import Store
from kswatch.errors import KswatchError
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.planning.budget import parse_seconds
from kswatch.profiler.runs.concurrent_runs import ConcurrentRuns, RunThread
from kswatch.profiler.runs.problem_loop import RunResult
from kswatch.profiler.runs.session import RunContext, run_suite

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
    """The suite of the nightly run on this device; an absent device counts as a GPU."""
    with suppress(KswatchError):
        if find(device).record.kind == "cpu":
            return config.cpu_suite
    return config.gpu_suite


def run_night(
    store: Store,
    specs: Sequence[str],
    suite: str | None,
    budget_s: float | None,
    judge: Judge,
    context: RunContext,
) -> Iterator[DeviceNight]:
    """Measure all devices at once, each in a process of its own, and judge each when it is done.

    One that cannot be measured stops no other; one that would be disturbed by another waits for it.
    """
    limit_s = budget_s or parse_seconds(context.config.nightly_budget)
    runs = ConcurrentRuns(store)
    waiting, absent = _targets(context, suite, specs)
    yield from absent
    several = len(waiting) > 1
    while (waiting and not context.stop.is_set()) or runs.in_progress:
        for night, target in list(waiting):
            if runs.is_free(target) and not context.stop.is_set():
                waiting.remove((night, target))
                # a bar cannot show several runs: their progress lines name the device
                progress = context.progress.for_device(target.record.uuid) if several else context.progress
                measure = partial(
                    run_suite,
                    suite=night.suite,
                    device=night.device,
                    kind="nightly",
                    budget_s=limit_s,
                    context=replace(context, progress=progress),
                )
                runs.start(night, target, measure)
        runs.wait()
        for run_thread in runs.ended():
            yield _finished(run_thread, judge)


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


def _finished(run_thread: RunThread, judge: Judge) -> DeviceNight:
    """The night with its run and judgement; one that was interrupted is judged when it is resumed."""
    night: DeviceNight = run_thread.subject
    try:
        run = run_thread.future.result()
    except KswatchError as error:
        return replace(night, error=str(error))
    night = replace(night, device=run_thread.target.record.uuid, run=run)
    if run is None or run.state != "finished":
        return night
    try:
        return replace(night, judged=judge(run.run))
    except KswatchError as error:
        return replace(night, error=f"measured but not judged: {error}")
