"""A disk that is full at each commit: a sentence with the cure, nothing half-written, a run to resume."""

from __future__ import annotations

import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from kswatch.db.maintenance.stats_and_prune import faults
from kswatch.db.queries import basic as queries
from kswatch.db.store import Store
from tests.db.backend.test_engine import in_child
from tests.robustness.kill_points import at_each_commit, contents, differences
from tests.robustness.planted_night import PlantedHost
from tests.robustness.test_kill_points import (
    import_exported,
    nightly_later,
    profile,
    profile_on,
    serve_later,
    serve_request,
)

ROOT = Path(__file__).parents[2]
FULL = "the disk is full; nothing recorded is lost: free some space and start again"
Act = Callable[[PlantedHost], object]


def live_on_a_full_disk(host: PlantedHost, life: Act, full_from: int) -> tuple[str, bool]:
    """The error of `life` in a child, and whether it reached the commit from which the disk is full."""
    reached = Path(f"{host.url.removeprefix('sqlite:///')}.full")

    def fail(number: int, moment: str) -> None:
        if moment == "before" and number >= full_from:
            reached.touch()
            raise sqlite3.OperationalError("database or disk is full")

    def live() -> None:
        with at_each_commit(fail):
            life(host)

    return in_child(live), reached.exists()


SLOW = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.parametrize(
    ("life", "afterwards"),
    [
        (profile, profile_on),
        pytest.param(PlantedHost.serve, serve_later, marks=SLOW),
        pytest.param(PlantedHost.nightly, nightly_later, marks=SLOW),
        pytest.param(serve_request, serve_request, marks=SLOW),
    ],
)
def test_a_disk_that_is_full_from_any_commit_on_is_reported_and_nothing_is_lost(
    planted, tmp_path, life, afterwards
):
    assert_each_full_disk_is_survived(planted, tmp_path, life, afterwards)


def test_an_import_onto_a_full_disk_is_reported_and_repeated(importing, tmp_path):
    assert_each_full_disk_is_survived(importing, tmp_path, import_exported, import_exported)


def assert_each_full_disk_is_survived(
    planted: PlantedHost, tmp_path: Path, life: Act, afterwards: Act
) -> None:
    """The disk is full from a commit on, for each commit in turn; then there is space again."""

    def copied(name: str) -> PlantedHost:
        return replace(planted, url=f"sqlite:///{shutil.copy(tmp_path / 'kswatch.db', tmp_path / name)}")

    undisturbed = copied("undisturbed.db")
    life(undisturbed)
    with closing(Store.open(undisturbed.url)) as store:
        expected = contents(store)
    for number in count(1):
        host = copied(f"full_{number}.db")
        message, was_full = live_on_a_full_disk(host, life, number)
        if not was_full:
            break
        with closing(Store.open(host.url)) as store:
            assert faults(store) == []
            is_whole = not differences(store, expected)
        assert is_whole or FULL in message, f"full from commit {number}: {message}"
        afterwards(host)
        with closing(Store.open(host.url)) as store:
            assert not (found := differences(store, expected)), "\n".join([f"commit {number}", *found])
    assert number > 10


COMMAND = [
    sys.executable,
    "-m",
    "kswatch",
    "profile",
    "--device",
    "sim:h200?seed=3",
    "--implementation",
    "fused",
]
PATTERNS = [f"--pattern={a},{b},{b},{d}" for a in (1, 2, 4) for b in (16, 32) for d in (1, 2)]


ROOM = 60_000
"""Bytes that a store may grow."""


@contextmanager
def limited_files(store: Path) -> Iterator[Callable[[], None]]:
    """Files of a process may not outgrow the store and its room: writing fails as on a full disk."""
    most = store.stat().st_size + ROOM

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    yield limit


@contextmanager
def small_disk(store: Path) -> Iterator[Callable[[], None]]:
    """A file system in memory that holds the store and little more; it is enlarged at the end."""
    kept, size = store.read_bytes(), store.stat().st_size + 2 * ROOM
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(store.parent)]
    if shutil.which("mount") is None or subprocess.run(mounting, capture_output=True).returncode:
        pytest.skip("this user may not mount a file system")
    store.write_bytes(kept)
    yield lambda: None
    subprocess.run(["mount", "-o", "remount,size=64m", str(store.parent)], check=True)


@pytest.fixture
def folder_of_store(tmp_path: Path) -> Iterator[Path]:
    """A folder on which a file system may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    yield folder
    if folder.is_mount():
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("limited", [limited_files, small_disk])
def test_a_real_command_whose_store_cannot_grow_ends_with_a_sentence_and_is_resumed(
    folder_of_store, tmp_path, limited
):
    path = folder_of_store / "kswatch.db"
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PYTHONDONTWRITEBYTECODE": "1",  # Python would cut its cache files off, and keep them
        "KSWATCH_DATABASE_URL": f"sqlite:///{path}",
    }
    Store.open(f"sqlite:///{path}").close()
    options = {"cwd": ROOT, "env": environment, "capture_output": True, "text": True}
    with limited(path) as limit:
        ended = subprocess.run([*COMMAND, *PATTERNS], preexec_fn=limit, **options)
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "free some space" in ended.stderr
    with closing(Store.open(f"sqlite:///{path}")) as store:
        assert faults(store) == []
        begun = queries.runs(store)
    again = [*COMMAND[:4], "--resume"] if begun else [*COMMAND, *PATTERNS]
    assert subprocess.run(again, **options).returncode == 0
    with closing(Store.open(f"sqlite:///{path}")) as store:
        (run,) = queries.runs(store)
        assert (run.state, run.cells) == ("finished", run.planned_cells)
