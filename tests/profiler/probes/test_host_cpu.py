from __future__ import annotations

import subprocess
import sys
import time
from collections import namedtuple

import psutil
import pytest

from kswatch.profiler.probes.host_cpu import CpuTimes

Times = namedtuple("Times", "user nice system idle iowait guest")


@pytest.fixture
def host(monkeypatch):
    """Sets the host's times and this process's own."""

    def set_times(own: float, **seconds: float) -> None:
        times = Times(**({"user": 0, "nice": 0, "system": 0, "idle": 0, "iowait": 0, "guest": 0} | seconds))
        monkeypatch.setattr(psutil, "cpu_times", lambda: times)
        monkeypatch.setattr(time, "process_time", lambda: own)

    return set_times


@pytest.mark.parametrize(
    ("own", "seconds", "share"),
    [
        (0.0, {"idle": 4.0}, 0.0),
        (1.0, {"user": 1.0, "idle": 3.0}, 0.0),
        (1.0, {"user": 2.0, "system": 1.0, "idle": 1.0}, 0.5),
        (1.0, {"user": 2.0, "idle": 1.0, "iowait": 1.0}, 0.25),
        (0.0, {"user": 2.0, "guest": 2.0, "idle": 2.0}, 0.5),
        (1.5, {"user": 1.0, "idle": 1.0}, 0.0),
    ],
)
def test_what_is_neither_idle_nor_its_own_is_that_of_others(host, own, seconds, share):
    host(0.0)
    before = CpuTimes.now()
    host(own, **seconds)
    assert before.share_of_others() == pytest.approx(share)


def test_a_moment_is_too_short_to_measure(host):
    host(0.0)
    before = CpuTimes.now()
    host(0.0, user=0.05)
    assert before.share_of_others() is None


def test_a_real_program_beside_is_seen():
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as program:
        try:
            before = CpuTimes.now()
            time.sleep(1.0)
            assert before.share_of_others() > 0.2 / psutil.cpu_count()
        finally:
            program.kill()
