"""A device with twelve quiet nights whose next night is slower, and the server that measures it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

from kswatch.ci.check import judge
from kswatch.ci.config import CiConfig
from kswatch.ci.confirmation.request import request_confirmation
from kswatch.ci.missing_data import check_missing_data
from kswatch.db.coordination import schedule as schedule_marks
from kswatch.db.queries import basic as queries
from kswatch.db.records import (
    CanaryRecord,
    DeviceRecord,
    EnvironmentRecord,
    MeasurementRecord,
    ProblemKey,
    RevisionRecord,
)
from kswatch.db.store import Store
from kswatch.kernels.problem import Problem
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.empty_records import problem_key, problem_of
from kswatch.profiler.executors.base import MeasurementSite, MeasureTask
from kswatch.profiler.planning.suites import Suite
from kswatch.profiler.runs.session import RunContext
from kswatch.profiler.service.night_requests import NIGHTLY
from kswatch.profiler.service.nightly import run_night
from kswatch.profiler.service.request_runner import run_confirmations
from kswatch.profiler.service.server import Server
from kswatch.profiler.settings import PLAIN_HALF_WIDTH
from kswatch.profiler.signals import Stopped
from tests.ci.nights import BASE_MS, IMPLEMENTATIONS, PROBLEMS, Nights

DEVICE = DeviceRecord("cpu-planted", "cpu", "Planted CPU")
TARGET = Target(DEVICE, "cpu")
KEYS: tuple[ProblemKey, ...] = PROBLEMS[:2]
SLOWER = 1.03
"""So little slower that it must be measured again."""
SUITE = Suite(
    "planted", "two problems", lambda: tuple(map(problem_of, KEYS)), implementations=IMPLEMENTATIONS
)
REVISION = RevisionRecord("f" * 40, dirty=True)
"""Dirty, so that a confirmation measures it alone."""


class PlantedEngine:
    """Takes no time and gives the planted latencies, `fused` slower than in all nights before."""

    busy_s = 0.0

    def __init__(self, host: PlantedHost, device: DeviceRecord, stop: Event) -> None:
        self._host = host
        self._device = device
        self._stop = stop
        self._skipped_s = 0.0

    def site(self) -> MeasurementSite:
        return MeasurementSite(self._device, EnvironmentRecord(host="planted", driver="550.1"))

    def measure(self, task: MeasureTask) -> list[MeasurementRecord]:
        if self._stop.is_set():
            raise Stopped
        time.sleep(self._host.lasting_s)
        self._skipped_s += self._host.lasting_by_its_clock_s
        self._host.measured(task.problem)
        slower = self._host.slower
        return [_measured(problem_key(task.problem), name, slower) for name in task.implementations]

    def canaries(self, position: str) -> list[CanaryRecord]:
        return [CanaryRecord(position, name, "fp32", 1.0, 1e9) for name in ("copy", "gemm")]

    def now_s(self) -> float:
        return time.monotonic() + self._skipped_s

    def close(self) -> None:
        pass


def _measured(key: ProblemKey, name: str, slower: float) -> MeasurementRecord:
    latency_ms = BASE_MS.get(name, 2.0) * (slower if name == "fused" else 1.0)
    ratio = latency_ms / (BASE_MS["fused"] * slower)
    return MeasurementRecord(
        key,
        name,
        "ok",
        latency_ms=latency_ms,
        latency_low_ms=latency_ms * 0.997,
        latency_high_ms=latency_ms * 1.003,
        ratio_to_fused=ratio,
        ratio_to_fused_low=ratio * 0.997,
        ratio_to_fused_high=ratio * 1.003,
    )


def judging(store: Store) -> Callable[[int], None]:
    """Judges a run, and requests its confirmation."""
    ci = CiConfig()

    def judge_one(run_id: int) -> None:
        now = datetime.now(UTC)
        judge(store, run_id, ci, now=now)
        check_missing_data(store, ci, now)
        request_confirmation(store, queries.run(store, run_id), ci)

    return judge_one


def _ahead(later: timedelta) -> Callable[[], datetime]:
    return lambda: datetime.now(UTC) + later


@dataclass
class PlantedHost:
    """What runs on the host of the planted device, on the store at a URL."""

    url: str
    slower: float = SLOWER
    """The latency of `fused` in the next night, as a multiple of that of the nights before."""
    lasting_s: float = 0.0
    """How long a problem takes."""
    measured: Callable[[Problem], object] = lambda problem: None
    """Called when a problem was measured, before it is recorded."""
    lasting_by_its_clock_s: float = 0.0
    """How long a problem takes by the clock of the engine alone."""
    budget: str = "3h"
    """The time budget of a night."""
    exported: Path = Path()
    """A file to import."""
    due: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(minutes=1))

    def context(self, **options: object) -> RunContext:
        cron = f"{self.due.minute} {self.due.hour} * * *"
        config = ProfilerConfig(
            devices=("cpu",),
            cpu_suite=SUITE.name,
            poll_s=0.01,
            nightly_cron=cron,
            nightly_budget=self.budget,
            half_width_cpu=PLAIN_HALF_WIDTH,  # as in the quiet nights: else the environment changed
        )
        defaults = {
            "config": config,
            "make_engine": lambda target, watchdog_s, stop: PlantedEngine(self, target.record, stop),
            "find_device": lambda spec: TARGET,
            "list_devices": lambda: (TARGET,),
        }
        return RunContext(**defaults | options)

    def server(
        self, store: Store, later: timedelta = timedelta(), context: RunContext | None = None
    ) -> Server:
        """A server whose clock is ahead by `later`: it need not wait for a request's owner to be given up."""
        return Server(store, context or self.context(), judging(store), _ahead(later))

    def serve(self, later: timedelta = timedelta()) -> None:
        """Do all that is due and asked for, and end."""
        with closing(Store.open(self.url)) as store:
            server = self.server(store, later)
            server.requeue_abandoned()
            server.request_due_nightly()
            while server.start_next():
                server.finish_runs(None)

    def nightly(self, later: timedelta = timedelta()) -> None:
        """What `kswatch nightly` does, by a clock that is ahead by `later`."""
        with closing(Store.open(self.url)) as store:
            now, judge_one, context = _ahead(later), judging(store), self.context()
            nights = list(run_night(store, [DEVICE.uuid], SUITE.name, None, judge_one, context, now))
            measured = [night.device for night in nights if night.run is not None]
            run_confirmations(store, measured, judge_one, context, now())

    def fill(self) -> None:
        """Write the quiet nights, the last of them yesterday."""
        with closing(Store.open(self.url)) as store:
            nights = Nights(store, device=DEVICE)
            nights.quiet(12, problems=KEYS)
            with store.writing() as session:
                schedule_marks.mark_due(session, NIGHTLY, self.due - timedelta(hours=20))
