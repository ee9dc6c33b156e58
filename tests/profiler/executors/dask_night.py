"""A night on a Dask cluster of real processes on loopback: a scheduler, workers of simulated devices."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from kswatch.db.queries import basic as queries
from kswatch.db.request_queue import requests
from kswatch.db.store import Store

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
        """Until all are done; a request that ended in another way is shown with its reason at once."""

        def are_done() -> bool:
            asked = [queries.request(self.store, one) for one in request_ids]
            assert not [one for one in asked if one.state in ("failed", "cancelled")], asked
            return all(one.state == "done" for one in asked)

        wait_until(are_done)

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


def the_dask_worker(command: subprocess.Popen[bytes]) -> psutil.Process:
    wait_until(lambda: bool(psutil.Process(command.pid).children()))
    return psutil.Process(command.pid).children()[0]
