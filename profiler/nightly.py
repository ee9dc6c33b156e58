"""The nightly run: every device of the host, one after the other, measured and judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from db.store import Store
from kswatch_errors import KswatchError
from profiler import devices
from profiler.budget import parse_seconds
from profiler.config import ProfilerConfig
from profiler.session import RunResult, Surroundings, run_suite

Judge = Callable[[int], Any]
"""Judges a run by its id and gives what `ci` found; handed in, since the profiler knows nothing of it."""


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


def night_devices(config: ProfilerConfig, specs: Sequence[str] = ()) -> tuple[str, ...]:
    """The devices of the nightly run: those named, be they here or not; else every GPU, else the CPU."""
    named = tuple(specs or config.devices)
    if named:
        return named
    found = devices.list_targets()
    gpus = tuple(target for target in found if target.record.kind == "cuda")
    return tuple(target.record.uuid for target in gpus or found)


def night_suite(config: ProfilerConfig, device: str) -> str:
    """What the nightly run measures on this device; one that is absent is taken for a GPU."""
    with suppress(KswatchError):
        if devices.find(device).record.kind == "cpu":
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
    """Measure and judge one device after the other; one that cannot be measured stops no other."""
    config = surroundings.config
    limit_s = budget_s or parse_seconds(config.nightly_budget)
    for device in specs:
        if surroundings.stop.is_set():
            return
        chosen = suite or night_suite(config, device)
        try:
            run = run_suite(
                store, chosen, device, kind="nightly", budget_s=limit_s, surroundings=surroundings
            )
        except KswatchError as error:
            yield Night(device, chosen, error=str(error))
        else:
            yield _judged(Night(run.device, chosen, run), judge)


def _judged(night: Night, judge: Judge) -> Night:
    """The night with its judgement; one that was interrupted is judged when it is resumed."""
    if night.run is None or night.run.state != "finished":
        return night
    try:
        return replace(night, judged=judge(night.run.run))
    except KswatchError as error:
        return replace(night, error=f"measured but not judged: {error}")
