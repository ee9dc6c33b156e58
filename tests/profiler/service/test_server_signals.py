"""SIGTERM and Ctrl-C end real processes politely: the run is interrupted, the request waits again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from kswatch.db.queries import basic as queries
from kswatch.db.request_queue import requests

ROOT = Path(__file__).parents[3]
COMMAND = """
import sys
from contextlib import nullcontext
from kswatch.profiler.cli.profile import app
from kswatch.profiler.config import ProfilerConfig
from tests.kswatch.sample_services import sample_services

obj = sample_services(
    sys.argv[1],
    ProfilerConfig(cell_cap_ms=200, poll_s=0.1),
    judge=lambda store, run_id: None,
    notify=lambda store: [],
    request_confirmation=lambda store, run_id: None,
    notification_worker=nullcontext,
    check_missing_data=lambda store: None,
)
sys.exit(app(sys.argv[2:], obj=obj, standalone_mode=False))
"""
FILTERS = {
    "pattern": ["2,8,8,2", "1,16,16,4", "4,16,16,1", "3,8,16,2"],
    "batch": [64],
    "implementation": ["fused", "bmm"],
}


@pytest.fixture
def start(store):
    """Start a command in a process of its own."""
    started = []

    def run(*arguments):
        command = [sys.executable, "-c", COMMAND, str(store.engine.url), *arguments]
        started.append(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()


HANGS_AFTER_S = 240
"""The end of a test that hangs; on a busy machine a start alone takes tens of seconds."""


def wait_until(happened):
    deadline = time.monotonic() + HANGS_AFTER_S
    while not happened():
        assert time.monotonic() < deadline, f"it did not happen within {HANGS_AFTER_S} s"
        time.sleep(0.05)


def test_sigterm_ends_a_server_and_its_request_waits_again(store, start):
    request_id = requests.submit(store, "ad_hoc", "cpu", asked_by="a tester", arguments=FILTERS)
    server = start("serve")
    wait_until(lambda: queries.request(store, request_id).cells_done > 0)
    children = psutil.Process(server.pid).children()
    server.send_signal(signal.SIGTERM)
    _, told = server.communicate(timeout=HANGS_AFTER_S)
    assert server.returncode == 0
    assert "waiting for requests and the nightly of" in told
    assert queries.request(store, request_id).state == "queued"
    assert queries.run(store, 1).state == "interrupted"
    assert children and not any(child.is_running() for child in children)


def test_sigterm_ends_an_idle_server_at_once(start):
    server = start("serve")
    assert "waiting" in server.stderr.readline()
    server.send_signal(signal.SIGTERM)
    assert server.wait(timeout=HANGS_AFTER_S) == 0


@pytest.mark.slow
def test_ctrl_c_leaves_a_profile_to_resume(store, start):
    options = [f"--{name}={value}" for name, values in FILTERS.items() for value in values]
    profile = start("profile", "--json", *options)
    wait_until(lambda: queries.runs(store) and queries.measurements(store, 1))
    profile.send_signal(signal.SIGINT)
    profile.communicate(timeout=HANGS_AFTER_S)
    assert profile.returncode == 130
    assert queries.run(store, 1).state == "interrupted"
