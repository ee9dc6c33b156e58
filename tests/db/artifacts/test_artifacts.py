"""Files of runs: kept, listed, downloaded, pruned, and in backups only when asked."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from kswatch.db.artifacts.stored import (
    LARGEST_BYTES,
    add_artifact,
    artifact_content,
    artifacts,
    prune_artifacts,
)
from kswatch.db.cli.store import app
from kswatch.db.maintenance.backup import backup
from kswatch.db.store import Store
from kswatch.errors import UsageError
from tests.ci.nights import START, Nights
from tests.kswatch.sample_services import sample_services

REPORT = b"\x00ncu" * 1_000


@pytest.fixture
def kept(store):
    Nights(store).night()
    add_artifact(store, 1, "ncu", "run1.ncu-rep", REPORT)
    return store


def test_an_artifact_is_listed_and_read(kept):
    (one,) = artifacts(kept, (1,))
    assert (one.run_id, one.kind, one.name, one.size_bytes) == (1, "ncu", "run1.ncu-rep", len(REPORT))
    assert artifact_content(kept, one.id) == (one, REPORT)
    assert artifacts(kept, (2,)) == []


@pytest.mark.parametrize("size", [0, LARGEST_BYTES + 1])
def test_an_empty_and_a_large_file_are_refused_and_nothing_is_written(kept, size):
    with pytest.raises(UsageError, match="1 to 50 MB"):
        add_artifact(kept, 1, "ncu", "huge", bytes(size))
    assert len(artifacts(kept)) == 1


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "a/b",
        "a\\b",
        "..",
        ".hidden",
        "",
        "a\r\nSet-Cookie: x",
        'a"b',
        "a\0b",
        "\ud800",
        "x" * 256,
    ],
)
def test_what_is_no_name_of_a_file_is_refused(kept, name):
    """A browser and `kswatch runs artifact` write a file of that name."""
    with pytest.raises(UsageError, match="is no name of an artifact"):
        add_artifact(kept, 1, "ncu", name, REPORT)
    assert len(artifacts(kept)) == 1


def test_a_file_of_no_run_is_refused(kept):
    with pytest.raises(UsageError, match="there is no run 99"):
        add_artifact(kept, 99, "ncu", "report.ncu-rep", REPORT)
    assert len(artifacts(kept)) == 1


def test_old_artifacts_are_pruned_and_still_listed(kept):
    assert prune_artifacts(kept, START - timedelta(days=1)) == 0
    assert prune_artifacts(kept, START + timedelta(days=3)) == 1
    (one,) = artifacts(kept)
    with pytest.raises(UsageError, match="was pruned"):
        artifact_content(kept, one.id)
    with pytest.raises(UsageError, match="no artifact 9"):
        artifact_content(kept, 9)


@pytest.mark.parametrize("with_artifacts", [False, True])
def test_a_backup_holds_them_only_when_asked(sqlite_store, tmp_path, with_artifacts):
    Nights(sqlite_store).night()
    add_artifact(sqlite_store, 1, "ncu", "run1.ncu-rep", REPORT)
    path = tmp_path / "backup.db"
    backup(sqlite_store, path, with_artifacts)
    with closing(sqlite3.connect(path)) as copy:
        assert copy.execute("SELECT count(*) FROM artifact_content").fetchone() == (int(with_artifacts),)
    copied = Store.open(f"sqlite:///{path}")
    assert len(artifacts(copied)) == 1
    copied.close()


def test_the_command_line_lists_and_writes_them(sqlite_store, tmp_path):
    Nights(sqlite_store).night()
    add_artifact(sqlite_store, 1, "ncu", "run1.ncu-rep", REPORT)

    def run(*arguments):
        services = sample_services(str(sqlite_store.engine.url))
        return CliRunner().invoke(app, ["runs", *arguments], obj=services)

    assert "run1.ncu-rep" in run("artifacts", "1").stdout
    assert run("artifacts", "2").stdout == "run 2 keeps no files\n"
    target = tmp_path / "report.ncu-rep"
    assert run("artifact", "1", str(target)).exit_code == 0 and target.read_bytes() == REPORT
    assert isinstance(run("artifact", "1", str(target)).exception, UsageError)  # it exists
