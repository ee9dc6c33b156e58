"""The nightly run: every device of the host, all at once, measured and judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from kswatch.db.store import Store
from kswatch.errors import KswatchError
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.planning.budget import parse_seconds
from kswatch.profiler.runs.concurrent_runs import Lane, Lanes, Measure
from kswatch.profiler.runs.problem_loop import RunResult
from kswatch.profiler.runs.progress import LineProgress
from kswatch.profiler.runs.session import Surroundings, run_suite

Judge = Callable[[int], Any]
"""Judges a run by its id and gives what `ci` found; handed in, since the profiler knows nothing of it."""

ALL = "all"


@dataclass(frozen=True)
class Night:
    """What became of one device's night."""

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


def night_devices(
    config: ProfilerConfig,
    specs: Sequence[str] = (),
    known: Callable[[], Sequence[devices.Target]] = devices.list_targets,
) -> tuple[str, ...]:
    """The devices of the nightly run: those named, be they here or not; else every GPU, else the CPU.

    `all` among the names stands for every GPU that is known, else the CPU.
    """
    named = tuple(specs or config.devices)
    if named and ALL not in named:
        return named
    found = known()
    gpus = tuple(target for target in found if target.record.kind == "cuda")
    others = (name for name in named if name != ALL)
    return (*others, *(target.record.uuid for target in gpus or found))


def night_suite(
    config: ProfilerConfig, device: str, find: Callable[[str], devices.Target] = devices.find
) -> str:
    """What the nightly run measures on this device; one that is absent is taken for a GPU."""
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
    surroundings: Surroundings,
) -> Iterator[Night]:
    """Measure all devices at once, each in a process of its own, and judge each when it is done.

    One that cannot be measured stops no other; one that would be disturbed by another waits for it.
    """
    config, lanes = surroundings.config, Lanes(store)
    limit_s = budget_s or parse_seconds(config.nightly_budget)
    waiting, away = _targets(surroundings, suite, specs)
    yield from away
    around = _telling_apart(surroundings) if len(waiting) > 1 else lambda target: surroundings
    while (waiting and not surroundings.stop.is_set()) or lanes.under_way:
        for night, target in list(waiting):
            if lanes.is_free(target) and not surroundings.stop.is_set():
                waiting.remove((night, target))
                lanes.start(night, target, _measure(night, limit_s, around(target)))
        lanes.wait()
        for lane in lanes.ended():
            yield _judged(_ended(lane), judge)


def _targets(
    surroundings: Surroundings, suite: str | None, specs: Sequence[str]
) -> tuple[list[tuple[Night, devices.Target]], list[Night]]:
    """The devices that are here, each once, with what is measured there; and those that are not."""
    here: dict[str, tuple[Night, devices.Target]] = {}
    away = []
    for spec in specs:
        night = Night(spec, suite or night_suite(surroundings.config, spec, surroundings.find_device))
        try:
            target = surroundings.find_device(spec)
        except KswatchError as error:
            away.append(replace(night, error=str(error)))
        else:
            here.setdefault(target.record.uuid, (night, target))
    return list(here.values()), away


def _telling_apart(surroundings: Surroundings) -> Callable[[devices.Target], Surroundings]:
    """The same surroundings with lines that name the device: one bar cannot tell of several."""
    return lambda target: replace(surroundings, progress=LineProgress(prefix=f"{target.record.uuid}: "))


def _measure(night: Night, budget_s: float, surroundings: Surroundings) -> Measure:
    return lambda store: run_suite(
        store, night.suite, night.device, kind="nightly", budget_s=budget_s, surroundings=surroundings
    )


def _ended(lane: Lane) -> Night:
    try:
        run = lane.join()
    except KswatchError as error:
        return replace(lane.about, error=str(error))
    return replace(lane.about, device=lane.target.record.uuid, run=run)


def _judged(night: Night, judge: Judge) -> Night:
    """The night with its judgement; one that was interrupted is judged when it is resumed."""
    if night.run is None or night.run.state != "finished":
        return night
    try:
        return replace(night, judged=judge(night.run.run))
    except KswatchError as error:
        return replace(night, error=f"measured but not judged: {error}")
