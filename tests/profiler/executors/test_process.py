"""The child process dies, hangs or is stopped: real processes, real signals."""

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

from kswatch.db.records import DeviceRecord
from kswatch.errors import MeasurementError
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.devices.discovery import Target, cpu_target, find
from kswatch.profiler.executors.base import MeasureTask
from kswatch.profiler.executors.local import local_engine
from kswatch.profiler.settings import MeasureSettings
from kswatch.profiler.signals import Stopped

ROOT = Path(__file__).parents[3]
# never satisfied: a problem lasts until its caps, which leaves time to interfere
SETTINGS = MeasureSettings(half_width=1e-9, cell_cap_ms=400, problem_cap_ms=1_200)
TASK = MeasureTask(
    Problem(Pattern(2, 16, 16, 2), 256, "fp32", "batch_last"), ("fused", "bmm", "einsum"), SETTINGS
)


@pytest.fixture(scope="module")
def engine():
    made = local_engine(cpu_target(), 60.0, threading.Event())
    made.site()
    yield made
    made.close()


def interfere(engine, index, number):
    """Send a signal to the child while that cell of its task runs: it is suspended, then checked."""

    def wait_and_send():
        child = psutil.Process(engine.child.pid)
        while True:
            time.sleep(0.002)
            if engine.child.page.current == index:
                child.suspend()
                if engine.child.page.current == index:
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
def test_a_crash_costs_only_the_cell_that_ran(engine, number):
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


@pytest.mark.parametrize(("name", "status"), [("fused", "crashed"), ("compiled", "too_slow")])
def test_a_child_without_progress_is_ended_and_its_cell_has_crashed_or_is_a_rival_too_slow(name, status):
    engine = local_engine(cpu_target(), 1.0, threading.Event())
    engine.site()
    interfere(engine, 0, signal.SIGSTOP)
    records = engine.measure(replace(TASK, implementations=(name,)))
    engine.close()
    assert statuses(records) == {name: status}
    assert "no progress for 1 s" in records[0].reason


def test_a_stop_ends_the_child_in_the_middle_of_a_problem():
    stop = threading.Event()
    engine = local_engine(cpu_target(), 60.0, stop)
    engine.site()
    pid = engine.child.pid
    threading.Timer(0.5, stop.set).start()
    with pytest.raises(Stopped):
        engine.measure(TASK)
    engine.close()
    assert not psutil.pid_exists(pid)


def test_an_absent_device_is_one_sentence_with_the_cure():
    absent = Target(DeviceRecord("GPU-of-another-host", "cuda", "a GPU"), "cuda:7")
    engine = local_engine(absent, 60.0, threading.Event())
    with pytest.raises(MeasurementError, match="GPU-of-another-host.*kswatch doctor"):
        engine.site()


@pytest.mark.slow
def test_canaries_stay_with_the_engine_when_its_child_is_replaced():
    engine = local_engine(find("sim:h200"), 60.0, threading.Event())

    def floors():
        return {record.implementation: record.floor_ms for record in engine.measure(TASK)}

    assert set(floors().values()) == {None}, "without canaries there is no roofline"
    assert engine.canaries("start")
    before = floors()
    assert None not in before.values()
    engine.close()
    assert floors() == before, "a new child has the canaries of the former one"
    engine.close()


def test_the_device_is_recorded_as_the_parent_found_it(engine):
    assert engine.site().device == cpu_target().record


def test_the_parent_needs_no_torch():
    modules = "kswatch.profiler.cli.profile, kswatch.profiler.service.server, kswatch.profiler.runs.session"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
