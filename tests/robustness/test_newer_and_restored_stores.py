"""A store of a newer kswatch, which every command refuses, and a backup restored in the middle of a run."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from kswatch.cli import app
from kswatch.db.maintenance.backup import backup
from kswatch.db.maintenance.stats_and_prune import faults
from kswatch.db.queries import basic as queries
from kswatch.db.store import Store
from kswatch.errors import StoreError
from kswatch.kernels.problem import Problem
from kswatch.profiler.runs.session import run_suite
from tests.robustness.planted_night import SUITE

COMMANDS = [
    "profile smoke --device sim:h200",
    "profile --resume",
    "compare 1 2",
    "nightly --device sim:h200 --quiet",
    "serve",
    "import {file}",
    "export --all {file}.jsonl",
    "summary",
    "runs",
    "runs exclude 1 --reason fan",
    "runs include 1 --reason fan",
    "runs note 1 fan",
    "request smoke --device cpu",
    "request --list",
    "cancel 1",
    "db upgrade",
    "db check",
    "db stats",
    "db backup {file}.copy",
    "db prune --older-than-days 30",
    "check",
    "check --rejudge",
    "report",
    "alerts",
    "alerts show 1",
    "alerts ack 1 --reason fan",
    "alerts outbox",
    "history",
    "heuristics score",
]


@pytest.fixture
def newer(planted, tmp_path, monkeypatch) -> Path:
    """The file of a store that a newer version has written."""
    with closing(Store.open(planted.url)) as store, store.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    monkeypatch.setenv("KSWATCH_DATABASE_URL", planted.url)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "kswatch.db"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_store_of_a_newer_version_is_refused_by_every_command(newer, command):
    before = rows(newer)
    result = CliRunner().invoke(app, command.format(file=newer).split())
    assert isinstance(result.exception, StoreError), f"{result.exception!r} {result.output}"
    assert "was written by a newer kswatch (schema 9999" in str(result.exception)
    assert result.exception.exit_code == 2
    assert rows(newer) == before


def rows(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        return "\n".join(connection.iterdump())


def test_a_backup_that_is_restored_in_the_middle_of_a_run_stays_as_it_was_and_the_run_is_kept(
    planted, tmp_path
):
    file = tmp_path / "kswatch.db"
    restored = tmp_path / "backup.db"
    with closing(Store.open(planted.url)) as store:
        backup(store, restored)
    before = rows(restored)
    measured = []

    def restore(problem: Problem) -> None:
        measured.append(problem)
        if len(measured) == 2:
            for name in ("-wal", "-shm"):
                file.with_name(f"kswatch.db{name}").unlink()
            restored.replace(file)

    planted.measured = restore
    with (
        closing(Store.open(planted.url)) as store,
        pytest.raises(StoreError, match="was replaced") as refused,
    ):
        run_suite(store, SUITE.name, context=planted.context())
    (kept,) = tmp_path.glob("kswatch.db.rescued-*")
    assert str(kept) in str(refused.value)
    with closing(Store.open(f"sqlite:///{kept}")) as store:
        assert faults(store) == []
        assert queries.runs(store)[0].cells == 3, "what was measured before is in the copy"
    assert rows(file) == before
    with closing(Store.open(planted.url)) as store:
        planted.measured = measured.append
        assert run_suite(store, SUITE.name, context=planted.context()).state == "finished"
