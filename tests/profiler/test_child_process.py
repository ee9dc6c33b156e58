"""Child processes import the same kswatch as their parent, each module once, and are lost in one sentence."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kswatch.profiler import child_process
from kswatch.profiler.child_process import (
    IMPORT_ROOT,
    ChildLostError,
    ChildProcess,
    child_environment,
    python_command,
)
from kswatch.profiler.signals import Stopped

FOLDERS = {"kernels", "db", "ci", "profiler", "dashboard"}
MEASURE = """
import threading
from kswatch.profiler.devices.discovery import cpu_target
from kswatch.profiler.executors.local import local_engine

engine = local_engine(cpu_target(), 60.0, threading.Event())
engine.site()
engine.close()
"""
CHILD = """
import os, sys, time
from multiprocessing.connection import Connection

connection = Connection(int(sys.argv[1]))
while True:
    message = connection.recv()
    if message == "exit":
        os._exit(7)
    if message == "hang":
        time.sleep(60)
    connection.send(message)
"""


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


@pytest.fixture
def child(tmp_path, monkeypatch, stop):
    (tmp_path / "echo_child.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    started = ChildProcess("echo_child", (), stop)
    yield started
    started.close()


def test_a_child_answers_each_message(child):
    for message in ("one", 2):
        child.send(message)
        assert child.receive(30.0) == message
    assert child.is_running


def test_a_child_that_ends_is_lost_with_its_exit_code(child):
    child.send("exit")
    with pytest.raises(ChildLostError, match="ended by itself with exit code 7"):
        child.receive(30.0)
    with pytest.raises(ChildLostError, match="exit code 7"):
        child.send("again")
    assert not child.is_running


def test_a_child_without_progress_is_ended(child):
    child.send("hang")
    with pytest.raises(ChildLostError, match="no progress for 1 s"):
        child.receive(1.0)
    with pytest.raises(ChildLostError, match="SIGKILL"):
        child.receive(1.0)


def test_a_child_is_ended_with_the_run(child, stop):
    child.send("hang")
    stop.set()
    with pytest.raises(Stopped):
        child.receive(30.0)


def test_a_checkout_comes_first_on_the_path_and_site_packages_is_not_added(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/other")
    assert child_environment()["PYTHONPATH"].split(os.pathsep) == [str(IMPORT_ROOT), "/other"]
    monkeypatch.setattr(child_process.sysconfig, "get_path", lambda name: str(IMPORT_ROOT))
    assert child_environment({"A": "b"})["PYTHONPATH"] == "/other"
    monkeypatch.delenv("PYTHONPATH")
    assert "PYTHONPATH" not in child_environment()


@pytest.fixture
def other_packages(tmp_path) -> Path:
    """A working directory, and a folder of `sys.path`, with packages named as folders of the repository."""
    for name in ("kernels", "db", "kswatch"):
        package = tmp_path / name
        package.mkdir()
        (package / "__init__.py").write_text(f"raise RuntimeError('the other {name} was imported')\n")
    return tmp_path


def test_a_measuring_process_imports_every_module_once_below_kswatch(other_packages):
    variables = {"PYTHONPROFILEIMPORTTIME": "1", "PYTHONPATH": f"{IMPORT_ROOT}{os.pathsep}{other_packages}"}
    command = [sys.executable, "-P", "-c", MEASURE]
    done = subprocess.run(
        command, cwd=other_packages, env=os.environ | variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    imported = re.findall(r"^import time: .*\| +(\S+)$", done.stderr, re.MULTILINE)
    assert "kswatch.profiler.executors.process_main" not in imported, "it is the main module"
    assert "kswatch.kernels.catalogue" in imported
    assert FOLDERS.isdisjoint(name.split(".")[0] for name in imported)


@pytest.mark.parametrize(
    "module",
    [
        "executors.process_main",
        "ab_runs.worker_main",
        *(
            pytest.param(one, marks=pytest.mark.slow)
            for one in ("executors.dask_worker", "backends.ncu_target")
        ),
    ],
)
def test_a_child_finds_the_same_kswatch_whatever_the_working_directory_holds(module, other_packages):
    code = f"import sys, kswatch.profiler.{module}; print(kswatch.__file__, *sys.modules, sep=chr(10))"
    command = [*python_command("x")[:-2], "-c", code]
    environment = child_environment({"PYTHONSAFEPATH": "1"})
    done = subprocess.run(command, cwd=other_packages, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    file, *modules = done.stdout.splitlines()
    assert Path(file).parents[1] == IMPORT_ROOT
    assert FOLDERS.isdisjoint(name.split(".")[0] for name in modules)


@pytest.mark.parametrize("error", ["EOFError", "BrokenPipeError", "ConnectionResetError"])
def test_a_child_whose_parent_was_killed_leaves_without_a_traceback(error: str) -> None:
    assert ended_by(error) == (0, "")
    code, stderr = ended_by("ValueError")
    assert code == 1 and "Traceback" in stderr


def ended_by(error: str) -> tuple[int, str]:
    """Exit code and standard error of a child whose main function raises this."""
    program = f"""
from kswatch.profiler.child_process import exit_with_parent

@exit_with_parent()
def main():
    raise {error}

main()
"""
    child = subprocess.run(
        [sys.executable, "-c", program], env=child_environment(), capture_output=True, text=True, timeout=60
    )
    return child.returncode, child.stderr
