"""Nights on a Dask cluster whose scheduler, worker or network fails at five moments of a night.

Real processes on loopback, a simulated device. The network is a proxy in front of the scheduler, which
reaches the worker for results by a connection of its own that is not cut. Whatever fails: the night is done,
or queued again and done by the next start; no problem is recorded twice, and every command returns.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import psutil
import pytest

from kswatch.db.queries import basic as queries
from kswatch.db.request_queue import requests
from tests.profiler.executors.dask_night import Night, the_dask_worker, wait_until
from tests.robustness.loopback_proxy import LoopbackProxy
from tests.robustness.pausing_coordinator import MOMENTS, SUITE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
DEVICE = "sim:h200"
AWAY_S = 6.0
"""Longer than the configured `worker_absent_s`: the coordinator has given the worker up by then."""
DONE_WITHIN_S = 150.0


class Chaos(Night):
    """A night whose parts reach the scheduler through networks that can be cut."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder, url)
        self._environment["PYTHONPATH"] = str(ROOT)
        port = int(self.scheduler.rpartition(":")[2])
        self.networks = (LoopbackProxy(port), LoopbackProxy(port))
        """That of the coordinator, and that of the worker."""
        through = f"tcp://127.0.0.1:{self.networks[1].port}"
        self.worker_command = self.start(
            "-m", "kswatch", "worker", "--scheduler", through, "--device", DEVICE
        )
        wait_until(lambda: "serves" in self.output)

    @property
    def output(self) -> str:
        return (self.folder / "said.txt").read_text(errors="replace")

    def begin(self, moment: str, command: str, *options: str) -> subprocess.Popen[bytes]:
        """A coordinator that pauses at that moment."""
        through = f"tcp://127.0.0.1:{self.networks[0].port}"
        arguments = (command, "--engine", "dask", "--scheduler", through, *options)
        return self.start("-m", "tests.robustness.pausing_coordinator", moment, *arguments)

    def disturb(self, moment: str, part: Part) -> None:
        """Let the part fail when the coordinator has come to that moment, and return while it goes on."""
        wait_until(lambda: (self.folder / "paused").exists())
        measuring = self._measuring_process() if moment == "while measuring" else None
        if measuring:  # its problem is in progress when the part fails
            measuring.suspend()
            self._go_on()
            time.sleep(1)
        part.fail(self)
        self._go_on()
        if measuring and measuring.is_running():
            measuring.resume()
        time.sleep(AWAY_S)
        part.restore(self)

    def _go_on(self) -> None:
        (self.folder / "continue").touch()

    def _measuring_process(self) -> psutil.Process:
        children = the_dask_worker(self.worker_command).children()
        return next(child for child in children if any("process_main" in word for word in child.cmdline()))

    def assert_done_once(self) -> None:
        """One finished run has every cell, and each problem was recorded once."""
        [run] = queries.runs(self.store, limit=None)
        cells = self.cells(run.id)
        assert run.state == "finished"
        assert len(cells) == len(set(cells)) == run.planned_cells == 2 * len(SUITE.problems())
        assert set(run.by_status) <= {"ok", "not_converged"}, run.by_status
        recorded = Counter((self.folder / "recorded").read_text().splitlines())
        assert set(recorded.values()) == {1}, recorded

    def close(self) -> None:
        super().close()
        for network in self.networks:
            network.close()


@dataclass(frozen=True)
class Part:
    """What fails, and how it comes back."""

    fail: Callable[[Chaos], object]
    restore: Callable[[Chaos], object] = lambda chaos: None


def kill_scheduler(chaos: Chaos) -> None:
    chaos.scheduler_process.kill()
    chaos.scheduler_process.wait()


def restart_scheduler(chaos: Chaos) -> None:
    chaos.start_scheduler(chaos.scheduler.rpartition(":")[2])


def fall_silent(chaos: Chaos) -> None:
    for network in chaos.networks:
        network.fall_silent()


def restore_networks(chaos: Chaos) -> None:
    for network in chaos.networks:
        network.restore()


PARTS = {
    "scheduler killed": Part(kill_scheduler, restart_scheduler),
    "scheduler stopped": Part(
        lambda chaos: chaos.scheduler_process.send_signal(signal.SIGSTOP),
        lambda chaos: chaos.scheduler_process.send_signal(signal.SIGCONT),
    ),
    "worker killed": Part(lambda chaos: the_dask_worker(chaos.worker_command).kill()),
    "network silent": Part(fall_silent, restore_networks),
    "coordinator cut off": Part(lambda chaos: chaos.networks[0].reset(), restore_networks),
    "worker cut off": Part(lambda chaos: chaos.networks[1].reset(), restore_networks),
}


@pytest.fixture
def chaos(tmp_path: Path, sqlite_url: str) -> Iterator[Chaos]:
    made = Chaos(tmp_path, sqlite_url)
    yield made
    made.close()


@pytest.fixture
def sqlite_url(tmp_path: Path, empty_file: Path) -> str:
    return f"sqlite:///{shutil.copy(empty_file, tmp_path / 'kswatch.db')}"


@pytest.mark.parametrize(("part", "moment"), product(PARTS, MOMENTS))
def test_a_request_of_a_server_is_done_once_whatever_fails(chaos, part, moment):
    asked = requests.submit(chaos.store, SUITE.name, DEVICE, asked_by="a tester")
    server = chaos.begin(moment, "serve")
    chaos.disturb(moment, PARTS[part])
    wait_until(lambda: queries.request(chaos.store, asked).state not in ("queued", "running"), DONE_WITHIN_S)
    assert queries.request(chaos.store, asked).state == "done", queries.request(chaos.store, asked).message
    chaos.assert_done_once()
    server.send_signal(signal.SIGTERM)
    assert server.wait(60) == 0


@pytest.mark.parametrize(
    ("part", "moment"), list(product(("scheduler killed", "worker killed", "network silent"), MOMENTS))
)
def test_a_night_by_cron_returns_and_is_done_once_by_the_next_one_at_the_latest(chaos, part, moment):
    arguments = ("nightly", "--device", DEVICE, "--suite", SUITE.name, "--quiet")
    night = chaos.begin(moment, *arguments)
    chaos.disturb(moment, PARTS[part])
    code = night.wait(DONE_WITHIN_S)
    assert "Traceback" not in chaos.output
    if code != 0:
        assert code == 3, chaos.output
        assert "sim-h200" in chaos.output and "resumed" in chaos.output
        assert chaos.begin(moment, *arguments).wait(DONE_WITHIN_S) == 0, chaos.output
    chaos.assert_done_once()
    assert {request.state for request in queries.requests(chaos.store)} == {"done"}
