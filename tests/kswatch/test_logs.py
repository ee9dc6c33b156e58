"""The log of a daemon: its formats, UTC, the device and run of a record, levels; stdout stays untouched."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import warnings
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kswatch import logs

ROOT = Path(__file__).parents[2]
KEYS = ["time", "level", "module", "message", "device", "run"]
log = logging.getLogger("kswatch.profiler.service.server")


@pytest.fixture(autouse=True)
def restored_logging():
    """Undo what `configure` changes for the whole process."""
    root, ours = logging.getLogger(), logging.getLogger("kswatch")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    root.handlers = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    logging.captureWarnings(False)


def logged(capsys) -> list[dict[str, object]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_a_json_line_is_an_object_with_time_level_module_message_device_and_run(capsys) -> None:
    logs.configure("json")
    with logs.log_context(device="GPU-1", run=7):
        log.info("request %s done", 3)
    (row,) = logged(capsys)
    assert list(row) == KEYS
    assert (row["level"], row["message"]) == ("INFO", "request 3 done")
    assert (row["module"], row["device"], row["run"]) == ("kswatch.profiler.service.server", "GPU-1", 7)


def test_a_text_line_holds_the_same(capsys) -> None:
    logs.configure("text")
    with logs.log_context(device="GPU-1"):
        logs.set_log_run(7)
        log.warning("slow")
    log.error("no device")
    first, second = capsys.readouterr().err.splitlines()
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(moment + r" WARNING kswatch\.profiler\.service\.server \[GPU-1, run 7\] slow", first)
    assert re.fullmatch(moment + r" ERROR kswatch\.profiler\.service\.server no device", second)


def test_a_person_reads_the_message_alone(capsys) -> None:
    logs.configure("plain")
    log.warning("the channel is down")
    assert capsys.readouterr().err == "kswatch: the channel is down\n"


@pytest.mark.parametrize("form", ["json", "text"])
def test_times_are_utc_whatever_the_zone_of_the_host(capsys, monkeypatch, form) -> None:
    import time

    monkeypatch.setenv("TZ", "Pacific/Kiritimati")  # 14 hours ahead
    time.tzset()
    try:
        logs.configure(form)
        log.info("now")
        line = capsys.readouterr().err
    finally:
        monkeypatch.undo()
        time.tzset()
    text = json.loads(line)["time"] if form == "json" else line.split()[0]
    assert abs((datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds()) < 60


def test_fields_belong_to_their_context_and_thread(capsys) -> None:
    logs.configure("json")

    def other_thread() -> None:
        log.info("other")

    with logs.log_context(device="GPU-1"):
        with logs.log_context(run=7):
            log.info("inner")
        log.info("outer")
        thread = threading.Thread(target=other_thread)
        thread.start()
        thread.join()
        log.info("explicit", extra={"device": "cpu", "run": 8})
    log.info("after")
    found = {row["message"]: (row["device"], row["run"]) for row in logged(capsys)}
    assert found == {
        "inner": ("GPU-1", 7),
        "outer": ("GPU-1", None),
        "other": (None, None),
        "explicit": ("cpu", 8),
        "after": (None, None),
    }


@pytest.mark.parametrize(("verbose", "levels"), [(False, ["INFO"]), (True, ["DEBUG", "INFO"])])
def test_debug_records_are_shown_only_when_asked_for(capsys, verbose, levels) -> None:
    logs.configure("json", verbose)
    log.debug("details")
    log.info("news")
    assert [row["level"] for row in logged(capsys)] == levels


@pytest.mark.parametrize("name", ["distributed.worker", "apscheduler.scheduler", "sqlalchemy.engine"])
def test_libraries_are_logged_from_warnings_upwards_even_with_verbose(capsys, name) -> None:
    library = logging.getLogger(name.split(".")[0])
    library.setLevel(logging.INFO)  # as distributed does when it is imported
    library.addHandler(logging.StreamHandler(sys.stderr))
    logs.configure("json", verbose=True)
    logging.getLogger(name).info("chatter")
    logging.getLogger(name).warning("trouble")
    assert [row["message"] for row in logged(capsys)] == ["trouble"]


def test_python_warnings_and_tracebacks_are_lines_of_the_log_too(capsys) -> None:
    logs.configure("json")
    warnings.warn("old interface", stacklevel=1)
    try:
        raise ValueError("planted")
    except ValueError:
        logs.report_error("this is a defect", defect=True)
    warning, error = logged(capsys)
    assert (warning["module"], warning["level"]) == ("py.warnings", "WARNING")
    assert error["message"] == "this is a defect" and "ValueError: planted" in str(error["exception"])


def test_a_child_process_logs_as_its_parent() -> None:
    logs.configure("json", verbose=True)
    script = "import sys, logging; from kswatch import logs; logs.configure_as(*sys.argv[1:])"
    script += "; logging.getLogger('kswatch.child').debug('hello')"
    done = subprocess.run(
        [sys.executable, "-c", script, *logs.arguments()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stderr)["message"] == "hello" and done.stdout == ""


def test_configuring_twice_writes_each_record_once(capsys) -> None:
    logs.configure("text")
    logs.configure("json")
    log.info("once")
    assert len(logged(capsys)) == 1


def test_a_server_logs_objects_alone_and_nothing_on_stdout(tmp_path: Path) -> None:
    variables = os.environ | {
        "KSWATCH_DATABASE_URL": f"sqlite:///{tmp_path / 'k.db'}",
        "PYTHONPATH": str(ROOT),
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "kswatch", "serve", "--log-format", "json"],
        cwd=tmp_path,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr is not None
    first = json.loads(server.stderr.readline())
    server.send_signal(signal.SIGTERM)
    stdout, stderr = server.communicate(timeout=60)
    rows = [first, *map(json.loads, stderr.splitlines())]
    assert (server.returncode, stdout) == (0, "")
    assert "waiting for requests" in str(first["message"])
    assert rows[-1]["message"] == "stopped" and all(list(row)[:6] == KEYS for row in rows)


def test_a_daemon_that_cannot_begin_logs_why(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kswatch", "serve", "--engine", "dask", "--log-format", "json"],
        cwd=tmp_path,
        env=os.environ | {"KSWATCH_DATABASE_URL": f"sqlite:///{tmp_path / 'k.db'}", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    row = json.loads(done.stderr)
    assert (done.returncode, done.stdout, row["level"]) == (2, "", "ERROR")
    assert "--scheduler" in row["message"]
