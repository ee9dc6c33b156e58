"""The child process dies, hangs or is told to stop: real processes, real signals."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from kswatch.errors import MeasurementError
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.devices.discovery import cpu_target
from kswatch.profiler.executors.base import MeasureTask
from kswatch.profiler.executors.local import LocalEngine, local_engine
from kswatch.profiler.executors.protocol import Begin
from kswatch.profiler.settings import MeasureSettings
from kswatch.profiler.signals import Stopped

ROOT = Path(__file__).parents[3]
# never satisfied: a problem lasts until its caps, so that there is time to interfere
SETTINGS = MeasureSettings(half_width=1e-9, cell_cap_ms=400, problem_cap_ms=1_200)
TASK = MeasureTask(
    Problem(Pattern(2, 16, 16, 2), 256, "fp32", "batch_last"), ("fused", "bmm", "einsum"), SETTINGS
)


@pytest.fixture(scope="module")
def engine():
    made = local_engine(cpu_target(), 60.0, threading.Event())
    made.place()
    yield made
    made.close()


def interfere(engine, place, number):
    """Send a signal to the child while that cell of its task runs: held still, then looked at."""

    def wait_and_send():
        child = psutil.Process(engine.child.pid)
        while True:
            time.sleep(0.002)
            if engine.child.whereabouts.place == place:
                child.suspend()
                if engine.child.whereabouts.place == place:
                    if number != signal.SIGSTOP:
                        child.send_signal(number)
                        with contextlib.suppress(psutil.NoSuchProcess):
                            child.resume()  # a stopped process meets no SIGSEGV
                    return
                child.resume()

    thread = threading.Thread(target=wait_and_send, daemon=True)
    thread.start()
    return thread


def statuses(records):
    return {record.implementation: record.status for record in records}


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGSEGV, marks=pytest.mark.slow)])
def test_a_crash_costs_the_guilty_cell_alone(engine, number):
    interfere(engine, 1, number)
    before = engine.child.pid
    records = engine.measure(TASK)
    found = statuses(records)
    assert found.pop("bmm") == "crashed"
    assert set(found) == {"fused", "einsum"}
    assert set(found.values()) <= {"ok", "not_converged"}
    assert number.name in next(record.reason for record in records if record.implementation == "bmm")
    assert engine.child.pid != before


def test_after_a_crash_the_next_problem_is_measured(engine):
    assert "crashed" not in statuses(engine.measure(TASK)).values()
    assert engine.busy_s > 0


def test_a_child_that_takes_no_step_is_ended_and_its_cell_has_crashed():
    engine = local_engine(cpu_target(), 1.0, threading.Event())
    engine.place()
    interfere(engine, 0, signal.SIGSTOP)
    records = engine.measure(replace(TASK, implementations=("fused",)))
    engine.close()
    assert statuses(records) == {"fused": "crashed"}
    assert "no step for 1 s" in records[0].reason


def test_a_stop_ends_the_child_in_the_middle_of_a_problem():
    stop = threading.Event()
    engine = local_engine(cpu_target(), 60.0, stop)
    engine.place()
    pid = engine.child.pid
    threading.Timer(0.5, stop.set).start()
    with pytest.raises(Stopped):
        engine.measure(TASK)
    engine.close()
    assert not psutil.pid_exists(pid)


def test_a_device_that_is_not_here_is_one_sentence_with_the_cure():
    engine = LocalEngine(Begin("GPU-of-another-host"), {}, 60.0, threading.Event())
    with pytest.raises(MeasurementError, match="GPU-of-another-host.*kswatch doctor"):
        engine.place()


def test_the_parent_needs_no_torch():
    code = "import sys, profiler.commands, profiler.serve, profiler.session; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
