"""Two servers on one store and eight clients: no request fails by a race, and none is measured twice."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from kswatch.db.queries import basic as queries
from kswatch.db.records import DeviceRecord
from kswatch.db.request_queue import requests
from kswatch.db.store import Store
from kswatch.kernels.problem import Problem
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.service.server import Server
from kswatch.profiler.signals import stop_on_signals
from tests.robustness.planted_night import SUITE, PlantedHost

CLIENTS = 8
TARGETS = {
    name: Target(DeviceRecord(name, "cpu", f"Planted {name}", simulated=True), "cpu")
    for name in ("sim-1", "sim-2", "sim-3")
}
SETTLE_S = 1200


def start_server(host: PlantedHost) -> int:
    """A server in a process of its own, which SIGTERM ends; returns its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with stop_on_signals() as stop, closing(Store.open(host.url)) as store:
            devices = {"find_device": TARGETS.__getitem__, "list_devices": lambda: tuple(TARGETS.values())}
            Server(store, host.context(stop=stop, **devices), lambda run_id: None).serve()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def submit_all(url: str, number: int, count: int) -> None:
    """One client: asks for runs on all devices in turn."""
    with closing(Store.open(url)) as store:
        for place in range(count):
            device = list(TARGETS)[(number + place) % len(TARGETS)]
            requests.submit(store, SUITE.name, device, asked_by=f"client {number}", why=f"{place}")


def wait_until_done(store: Store, count: int) -> None:
    deadline = time.monotonic() + SETTLE_S
    while sum(one.state == "done" for one in queries.requests(store, limit=None)) < count:
        failed = [one.message for one in queries.requests(store, states=("failed",), limit=None)]
        assert not failed, failed
        assert time.monotonic() < deadline, "the requests take too long"
        time.sleep(0.2)


def append_to(path: Path) -> Callable[[Problem], None]:
    """Adds a line to the file for each problem that any of the processes measured."""
    descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    return lambda problem: os.write(descriptor, f"{problem}\n".encode()) and None


@pytest.mark.parametrize("each", [3, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_every_request_is_done_by_one_run_that_is_measured_once(planted, url, tmp_path, each):
    host = replace(planted, url=url, measured=append_to(tmp_path / "measured"))
    servers = [start_server(host) for _ in range(2)]
    try:
        with ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(lambda number: submit_all(url, number, each), range(CLIENTS)))
        with closing(Store.open(url)) as store:
            wait_until_done(store, CLIENTS * each)
    finally:
        for server in servers:
            os.kill(server, signal.SIGTERM)
        ends = [os.waitstatus_to_exitcode(os.waitpid(server, 0)[1]) for server in servers]
    assert ends == [0, 0]
    with closing(Store.open(url)) as store:
        runs = queries.runs(store, limit=None)
        assert {run.state for run in runs} == {"finished"}
        assert set(Counter(run.request_id for run in runs).values()) == {1}
        assert len(runs) == CLIENTS * each
    measured = (tmp_path / "measured").read_text().splitlines()
    assert len(measured) == CLIENTS * each * len(SUITE.problems())
