"""A night on a Dask cluster whose parts are killed: a real scheduler, three workers, simulated devices.

No measurement is lost, none is there twice, and who lost its lease writes nothing more.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from kswatch.db.coordination import leases
from kswatch.db.coordination.run_log import run_log
from kswatch.db.coordination.workers import WorkerRow
from kswatch.db.queries import basic as queries
from kswatch.db.request_queue import requests
from kswatch.db.store import Store
from kswatch.profiler.executors.dask_tasks import ANSWER_S
from tests.db.conftest import *  # noqa: F403  (both databases)

pytestmark = pytest.mark.timeout(600)
KSWATCH = Path(sys.executable).with_name("kswatch")
DEVICES = ("sim:h200", "sim:h200:2", "sim:h200:3")
PATTERNS = ("6,64,64,1", "1,128,128,3", "4,64,64,4", "2,96,96,4")
LEASE_S = 3.0
CONFIG = f"""
[profiler]
lease_s = {LEASE_S}
worker_absent_s = 4.0
poll_s = 0.2
"""


class Night:
    """A scheduler, workers and coordinators in processes of their own, all ended with the test."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.store = Store.open(url)
        self._processes: list[subprocess.Popen[bytes]] = []
        # without git: what is committed meanwhile would make a resumed run one of another commit
        self._environment = os.environ | {"KSWATCH_DATABASE_URL": hasty(url), "PATH": str(folder)}
        (folder / "kswatch.toml").write_text(CONFIG, encoding="utf-8")
        self.start_scheduler()

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / "said.txt").open("ab") as said:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.folder,
                env=self._environment,
                stdout=said,
                stderr=said,
            )
        self._processes.append(process)
        return process

    def start_scheduler(self, port: str = "0") -> None:
        place = self.folder / "scheduler.json"
        place.unlink(missing_ok=True)
        command = ["dask", "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]
        self.scheduler_process = self.start("-m", *command, "--no-jupyter", "--scheduler-file", str(place))
        wait_until(lambda: place.exists() and place.stat().st_size > 0)
        self.scheduler = json.loads(place.read_text())["address"]

    def worker(self, device: str) -> subprocess.Popen[bytes]:
        return self.start(str(KSWATCH), "worker", "--scheduler", self.scheduler, "--device", device)

    def coordinator(self) -> subprocess.Popen[bytes]:
        return self.start(str(KSWATCH), "serve", "--engine", "dask", "--scheduler", self.scheduler)

    def cut_off(self, process: subprocess.Popen[bytes]) -> None:
        """Stop it at any instant; on SQLite between two writes, whose lock nobody can take from it."""
        held = psutil.Process(process.pid)
        while True:
            process.send_signal(signal.SIGSTOP)
            wait_until(lambda: held.status() == psutil.STATUS_STOPPED)
            if self.store.engine.dialect.name != "sqlite" or self._can_write():
                return
            process.send_signal(signal.SIGCONT)
            time.sleep(0.02)

    def _can_write(self) -> bool:
        connection = sqlite3.connect(str(self.store.engine.url.database), timeout=0.1)
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        finally:
            connection.close()
        return True

    def ask(self, device: str, patterns: tuple[str, ...] = PATTERNS) -> int:
        arguments = {"pattern": list(patterns), "implementation": ["fused", "bmm"]}
        return requests.submit(self.store, "ad_hoc", device, asked_by="a tester", arguments=arguments)

    def cells(self, run_id: int) -> list[tuple[int, str]]:
        return sorted(
            (row.problem_id, row.implementation) for row in queries.measurements(self.store, run_id)
        )

    def wait_for_cells(self, run_id: int, count: int) -> None:
        wait_until(lambda: len(queries.runs(self.store)) >= run_id and len(self.cells(run_id)) >= count)

    def wait_for_end(self, *request_ids: int) -> None:
        wait_until(lambda: all(queries.request(self.store, one).state == "done" for one in request_ids))

    def assert_whole(self, *request_ids: int) -> None:
        """Every cell of every request is there once, in one finished run, and none of them failed."""
        for request_id in request_ids:
            [run] = [run for run in queries.runs(self.store) if run.request_id == request_id]
            cells = self.cells(run.id)
            assert len(cells) == len(set(cells)) == run.planned_cells
            assert run.state == "finished"
            assert set(run.by_status) <= {"ok", "not_converged"}, run.by_status

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        self.store.close()


def hasty(url: str) -> str:
    """PostgreSQL that takes locks from who is cut off sooner than usual."""
    if not url.startswith("postgresql"):
        return url
    return f"{url}{'&' if '?' in url else '?'}options=-c%20idle_in_transaction_session_timeout%3D10s"


def wait_until(happened: Callable[[], bool], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"it did not happen within {seconds:.0f} s"
        time.sleep(0.05)


@pytest.fixture
def night(tmp_path: Path, url: str) -> Iterator[Night]:
    made = Night(tmp_path, url)
    yield made
    made.close()


def the_dask_worker(command: subprocess.Popen[bytes]) -> psutil.Process:
    wait_until(lambda: bool(psutil.Process(command.pid).children()))
    return psutil.Process(command.pid).children()[0]


def sign_of(one: WorkerRow) -> tuple[str, str, str | None]:
    return (one.role, one.engine, one.device_uuid)


@pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
def test_a_run_on_a_cluster_is_complete_and_names_its_workers(night):
    night.worker(DEVICES[0])
    asked = night.ask(DEVICES[0], PATTERNS[:1])
    night.coordinator()
    night.wait_for_end(asked)
    night.assert_whole(asked)
    everyone = {("coordinator", "dask", None), ("worker", "dask", "sim-h200")}
    wait_until(lambda: {sign_of(one) for one in queries.workers(night.store)} == everyone)
    [run] = queries.runs(night.store)
    assert run.origin == "simulated"
    assert "finished" in run_log(night.store, run.id)[-1].text


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_one_night_of_all_devices_of_a_cluster(night):
    for device in DEVICES[:2]:
        night.worker(device)
    scheduler = ("--engine", "dask", "--scheduler", night.scheduler)
    command = ("nightly", *scheduler, "--suite", "small_batch", "--budget", "5s", "--json")

    def both_were_measured():
        night.start(str(KSWATCH), *command).wait()
        return {run.device_uuid for run in queries.runs(night.store)} == {"sim-h200", "sim-h200-2"}

    wait_until(both_were_measured)  # a night begins with the workers that are there
    for run in queries.runs(night.store):
        assert (run.kind, run.state, run.origin) == ("nightly", "finished", "simulated")
        cells = night.cells(run.id)
        assert len(cells) == len(set(cells)) == run.planned_cells, "what the budget left out is there too"


@pytest.mark.slow
def test_a_killed_worker_loses_nothing_and_its_run_continues_when_it_returns(night):
    workers = [night.worker(device) for device in DEVICES]
    asked = [night.ask(device) for device in DEVICES]
    night.coordinator()
    night.wait_for_cells(1, 4)
    the_dask_worker(workers[0]).kill()  # `kswatch worker` starts another
    night.wait_for_end(*asked)
    night.assert_whole(*asked)


@pytest.mark.slow
def test_a_lost_worker_is_reported_and_its_run_is_resumed_when_it_returns(night):
    worker = night.worker(DEVICES[0])
    asked = night.ask(DEVICES[0])
    night.coordinator()
    night.wait_for_cells(1, 4)
    worker.kill()  # and what it started ends with it
    wait_until(lambda: queries.run(night.store, 1).state == "interrupted")
    wait_until(lambda: queries.request(night.store, asked).state == "queued")
    [event] = queries.run_events(night.store, 1)
    assert "worker of device sim-h200 was gone for 4 s" in event.text
    assert "waits for its device" in queries.request(night.store, asked).message
    night.worker(DEVICES[0])
    night.wait_for_end(asked)
    night.assert_whole(asked)


@pytest.mark.slow
def test_the_runs_of_a_coordinator_that_is_killed_are_resumed_by_the_next_one(night):
    for device in DEVICES:
        night.worker(device)
    asked = [night.ask(device) for device in DEVICES]
    first = night.coordinator()
    night.wait_for_cells(1, 4)
    first.kill()
    first.wait()
    night.coordinator()
    night.wait_for_end(*asked)
    night.assert_whole(*asked)


@pytest.mark.slow
def test_a_coordinator_cut_off_for_longer_than_its_lease_writes_nothing_more(night):
    night.worker(DEVICES[0])
    asked = night.ask(DEVICES[0], PATTERNS + ("1,192,48,2", "2,48,192,1"))
    first = night.coordinator()
    night.wait_for_cells(1, 4)
    night.cut_off(first)
    stale = leases.holder_of(night.store, "sim-h200")
    second = night.coordinator()
    wait_until(lambda: leases.holder_of(night.store, "sim-h200") not in (None, stale))
    before = len(night.cells(1))
    first.send_signal(signal.SIGCONT)  # it has a problem in hand that it would record now
    night.wait_for_end(asked)
    night.assert_whole(asked)
    assert len(night.cells(1)) > before
    wait_until(lambda: b"was lost" in (night.folder / "said.txt").read_bytes())
    assert second.poll() is None


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_scheduler_that_is_away_until_its_clients_give_up_loses_no_run(night):
    night.worker(DEVICES[0])
    asked = night.ask(DEVICES[0])
    server = night.coordinator()
    night.wait_for_cells(1, 4)
    night.scheduler_process.kill()
    night.scheduler_process.wait()
    time.sleep(ANSWER_S + 5)  # a client closes itself after that
    night.start_scheduler(night.scheduler.rpartition(":")[2])
    night.wait_for_end(asked)
    night.assert_whole(asked)
    server.send_signal(signal.SIGTERM)
    assert server.wait(60) == 0


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_night_whose_scheduler_never_returns_ends_resumable(night):
    night.worker(DEVICES[0])
    wait_until(lambda: b"serves" in (night.folder / "said.txt").read_bytes())
    scheduler = ("--engine", "dask", "--scheduler", night.scheduler)
    command = night.start(str(KSWATCH), "nightly", *scheduler, "--suite", "small_batch")
    night.wait_for_cells(1, 4)
    night.scheduler_process.kill()
    assert command.wait(120) == 3
    assert queries.run(night.store, 1).state == "interrupted"
    assert night.store.resumable_run() == 1
