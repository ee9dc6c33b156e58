"""`kswatch doctor` names each condition of the store that would cost a night, with its cure."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from kswatch.db.coordination import leases
from kswatch.db.coordination import schedule as schedule_marks
from kswatch.db.schema.tables import Lease, Run
from kswatch.db.store import Store
from kswatch.profiler import diagnostics
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.diagnostics import Check
from kswatch.profiler.service.server import NIGHTLY
from tests.robustness.kill_points import is_killed, snapshots
from tests.robustness.test_kill_points import profile

FUTURE = datetime.now(UTC) + timedelta(days=4000)


@pytest.fixture
def file(planted, tmp_path) -> Path:
    return tmp_path / "kswatch.db"


def failures(file: Path) -> list[Check]:
    found = list(diagnostics.store(f"sqlite:///{file}", ProfilerConfig()))
    assert all(check.ok or check.cure for check in found)
    return [check for check in found if not check.ok]


def test_a_sound_store_has_no_finding(file):
    assert failures(file) == []


def test_a_mark_of_the_future_is_named(planted, file):
    with closing(Store.open(planted.url)) as store, store.writing() as session:
        schedule_marks.mark_due(session, NIGHTLY, FUTURE)
    (check,) = failures(file)
    assert f"{FUTURE:%Y-%m-%d %H:%M} UTC, in the future" in check.what
    assert "timedatectl" in check.cure


def test_a_lease_of_the_future_is_named(planted, file):
    with closing(Store.open(planted.url)) as store:
        leases.acquire(store, "cpu-planted", "another")
        with store.writing() as session:
            session.execute(update(Lease).values(heartbeat_at=FUTURE, expires_at=FUTURE))
    (check,) = failures(file)
    assert check.what == "the lease of device cpu-planted was renewed in the future"


def test_a_run_of_the_future_is_named(planted, file):
    with closing(Store.open(planted.url)) as store, store.writing() as session:
        session.execute(update(Run).where(Run.id.in_((11, 12))).values(started_at=FUTURE))
    (check,) = failures(file)
    assert "run 12 is dated" in check.what and "(2 such runs)" in check.what
    assert "kswatch runs exclude 12" in check.cure


def test_a_run_that_was_killed_is_named_until_it_is_resumed(planted, file):
    assert is_killed(lambda: profile(planted), 7, "after")
    (check,) = failures(file)
    assert check.what.startswith("run 13 was killed before its end; ")
    assert check.what.endswith(" of 6 cells are measured")
    assert check.cure == "kswatch profile --resume 13, or kswatch serve"


def test_a_run_that_was_killed_after_its_last_cell_is_named(planted, file, tmp_path):
    (tmp_path / "kept").mkdir()
    found = {
        check.what
        for left in snapshots(lambda: profile(planted), file, tmp_path / "kept")
        for check in failures(left)
    }
    assert "run 13 was killed before its end; all cells are measured" in found


def test_an_empty_file_is_named_and_left_as_it_is(tmp_path):
    file = tmp_path / "kswatch.db"
    file.touch()
    (check,) = failures(file)
    assert "is empty, 0 bytes" in check.what
    assert file.stat().st_size == 0


def test_a_network_file_system_is_named(file, monkeypatch):
    monkeypatch.setattr("kswatch.db.backend.engine.file_system_of", lambda folder: "nfs4")
    (check,) = failures(file)
    assert "network file system (nfs4)" in check.what


def test_a_process_that_writes_to_a_replaced_file_is_named(file):
    ready, done = os.pipe()
    child = os.fork()
    if child == 0:
        connection = sqlite3.connect(file)
        connection.execute("SELECT count(*) FROM run").fetchone()
        os.write(done, b"1")
        signal.pause()
    os.read(ready, 1)
    try:
        copy = shutil.copy(file, file.with_name("copy.db"))
        assert failures(file) == []
        os.replace(copy, file)
        (check,) = failures(file)
        assert f"process {child} still writes to a file that was deleted or replaced" in check.what
        assert check.cure == f"stop it: kill {child}"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert failures(file) == []


def test_what_was_kept_of_a_lost_file_is_named(planted, file):
    kept = file.with_name("kswatch.db.rescued-20260301-020000-7")
    shutil.copy(file, kept)
    (check,) = failures(file)
    assert str(kept) in check.what
