"""Opening a store: checks of its place and contents, and the upgrade of its schema."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.pool import ConnectionPoolEntry

from kswatch.db.backend.errors import translate_db_errors
from kswatch.db.backend.store_file import remember_file
from kswatch.db.backend.store_url import parse_store_url, shown
from kswatch.db.decoding import read_json
from kswatch.db.json_text import to_json_text
from kswatch.db.migrations.revisions import HEAD, REVISIONS
from kswatch.errors import ConfigurationError, StoreError

POSTGRES_OPTIONS = "-c timezone=utc -c datestyle=ISO -c idle_in_transaction_session_timeout=120s"
"""A client that is cut off in a transaction loses its locks after the timeout. A URL's own options win."""
BUSY_TIMEOUT_MS = 30_000
"""Longest wait of a writer for another one; transactions are short, so it is rarely reached."""

SQLITE_PRAGMAS = (
    "foreign_keys = ON",
    "synchronous = NORMAL",
    "cache_size = -32000",
    # 160 MB: importing a night touches every page of an index, and one checkpoint then serves several nights
    "wal_autocheckpoint = 40000",
)

NETWORK_FILE_SYSTEMS: tuple[str, ...] = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs")
NETWORK_FILE_SYSTEMS += ("lustre", "beegfs", "gpfs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph")
"""File systems without the locks that SQLite's write-ahead log relies on."""

MIGRATION_LOCK = 7_261_947
"""Key of the PostgreSQL advisory lock that lets one process migrate at a time."""

_json = partial(to_json_text, indent=None)

WRITES = {"writes": True}
"""Execution options of a transaction that will write: it takes SQLite's write lock when it begins."""


def open_engine(url: str, create: bool = True) -> Engine:
    """An engine on a store whose schema is the newest.

    Raises:
        ConfigurationError: the URL is not one, or its driver is not installed.
        StoreError: the place does not suit a store, cannot be written, or holds something else.
    """
    parsed = parse_store_url(url)
    path = _sqlite_path(parsed)
    if path is not None and not create and _is_for_reading_only(path):
        return _open_for_reading(parsed, path)
    if path is not None:
        _refuse_place(path, create)
    engine = _engine(parsed)
    try:
        with translate_db_errors(parsed):
            _upgrade_schema(engine)
        if path is not None:
            remember_file(engine, path)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _is_for_reading_only(path: Path) -> bool:
    """Whether the store exists and is readable, but it or its folder is not writable."""
    places = (path.absolute().parent, path)
    return os.access(path, os.R_OK) and not all(os.access(place, os.W_OK) for place in places)


def _open_for_reading(url: URL, path: Path) -> Engine:
    """An engine that writes nothing, not even the files that SQLite shares between readers and writers.

    Raises:
        StoreError: its schema is not the newest, or its write-ahead log still holds rows.
    """
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise StoreError(
            f"store {path} may only be read here, and its newest nights are not in the file yet; "
            "read it where it is written, or read a copy made by `kswatch db backup`"
        )
    place = f"file:{quote(os.fsencode(path.absolute()))}"
    engine = _engine(url.set(database=place, query={"mode": "ro", "immutable": "1", "uri": "true"}))
    with translate_db_errors(url):
        version = _known_version(engine, url)
    if version != HEAD:
        engine.dispose()
        raise StoreError(
            f"store {path} has schema {version} and may only be read here; "
            f"bring it to {HEAD} where it may be written, by `kswatch db upgrade`"
        )
    return engine


def store_exists(url: str) -> bool:
    """Whether the store's file exists; a server's database is assumed to exist.

    Raises:
        ConfigurationError: the URL is not one, or its driver is not installed.
    """
    return missing_file(url) is None


def missing_file(url: str) -> Path | None:
    """The file that opening the store would make; None where it exists, or is a server's database.

    Raises:
        ConfigurationError: the URL is not one, or its driver is not installed.
    """
    path = file_of(url)
    return None if path is None or path.exists() else path


def file_of(url: str) -> Path | None:
    """The store's file, whether or not it exists; None for a server's database.

    Raises:
        ConfigurationError: the URL is not one, or its driver is not installed.
    """
    return _sqlite_path(parse_store_url(url))


def _sqlite_path(url: URL) -> Path | None:
    name = url.database or ":memory:"
    is_file = url.get_backend_name() == "sqlite" and name != ":memory:" and not name.startswith("file:")
    return Path(name) if is_file else None


def _refuse_place(path: Path, create: bool) -> None:
    folder = path.absolute().parent
    if not os.path.isdir(folder):
        raise StoreError(f"store {path}: there is no folder {folder}; create it or name another store")
    if not create and not path.exists():
        raise StoreError(f"store {path} does not exist; `kswatch nightly` or `kswatch import FILE` makes it")
    if not create and path.is_file() and path.stat().st_size == 0:
        raise StoreError(
            f"store {path} is a file of 0 bytes: nothing is left of it, or nothing was written yet; "
            "put a backup in its place, or remove it and import your exports into a new one"
        )
    kind = file_system_of(folder)
    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreError(
            f"store {path} lies on a network file system ({kind}), where SQLite may lose data; "
            "put it on a local disk, or use PostgreSQL by KSWATCH_DATABASE_URL"
        )
    for place in (folder, path):
        if place.exists() and not os.access(place, os.W_OK):
            raise StoreError(
                f"store {path}: {place} cannot be written; make it writable or name another store"
            )


def file_system_of(folder: Path, mounts: Path = Path("/proc/mounts")) -> str | None:
    """The type of the folder's file system; None where the system does not report it."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return None
    real = folder.resolve()
    points = [
        (fields[1].replace("\\040", " "), fields[2]) for fields in map(str.split, lines) if len(fields) > 2
    ]
    holding = [(len(point), kind) for point, kind in points if real.is_relative_to(point)]
    # of two mounts on one point the later one is visible
    return max(reversed(holding), key=lambda found: found[0])[1] if holding else None


def _engine(url: URL) -> Engine:
    try:
        if url.get_backend_name() != "sqlite":
            options = f"{POSTGRES_OPTIONS} {url.query.get('options', '')}"
            return create_engine(
                url,
                json_serializer=_json,
                json_deserializer=read_json,
                pool_pre_ping=True,
                connect_args={"options": options, "client_encoding": "utf8"},
            )
        engine = create_engine(
            url,
            json_serializer=_json,
            json_deserializer=read_json,
            connect_args={"timeout": BUSY_TIMEOUT_MS / 1000},
        )
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"store {shown(url)} needs the Python package {error.name}; install kswatch[postgres]"
        ) from None
    if url.query.get("mode") != "ro":
        event.listen(engine, "connect", _use_write_ahead_log)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _use_write_ahead_log(connection: object, _entry: ConnectionPoolEntry) -> None:
    # SQLite waits for no lock here, while another process may be changing the mode of a new file.
    ends = time.monotonic() + BUSY_TIMEOUT_MS / 1e3
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")  # type: ignore[attr-defined]
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > ends:
                raise
            time.sleep(0.05)
        else:
            return


def _prepare_sqlite(connection: object, _entry: ConnectionPoolEntry) -> None:
    # _begin_sqlite begins transactions: the driver's own mode would leave reads and DDL outside of them
    connection.isolation_level = None  # type: ignore[attr-defined]
    for pragma in SQLITE_PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")  # type: ignore[attr-defined]


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def schema_version(connection: Connection) -> str | None:
    """The revision of the store's schema; None for an empty database.

    Raises:
        StoreError: the database holds tables of something else.
    """
    tables = inspect(connection).get_table_names()
    if "alembic_version" in tables:
        return connection.scalar(text("SELECT version_num FROM alembic_version"))
    if tables:
        raise StoreError(
            f"store {shown(connection.engine.url)} holds tables that are not ours ({', '.join(tables[:3])}); "
            "name another store"
        )
    return None


def _upgrade_schema(engine: Engine) -> None:
    if _known_version(engine, engine.url) == HEAD:
        return
    with (
        engine.connect().execution_options(**WRITES) as connection,
        _without_foreign_keys(connection),
        connection.begin(),
    ):
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        version = schema_version(connection)  # another process may have migrated while this one waited
        if version is None:
            _create_newest(connection)
        elif version != HEAD:
            from kswatch.db.migrations.migrate import migrate

            migrate(connection)


@contextmanager
def _without_foreign_keys(connection: Connection) -> Iterator[None]:
    """Do not enforce foreign keys in SQLite, which changes a table by replacing it with a changed copy."""
    if connection.dialect.name != "sqlite":
        yield
        return
    # on the driver's connection: within a transaction, which SQLAlchemy would begin, this has no effect
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys = ON")


def _create_newest(connection: Connection) -> None:
    """Create the schema that all migrations together would make, in a quarter of the time."""
    from kswatch.db.schema import tables as models

    models.Base.metadata.create_all(connection, checkfirst=False)
    key = "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)"  # as Alembic creates it
    connection.execute(text(f"CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, {key})"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


def _known_version(engine: Engine, url: URL) -> str | None:
    """The revision of the store's schema.

    Raises:
        StoreError: this kswatch does not know it, or the database holds tables of something else.
    """
    with engine.connect() as connection:
        version = schema_version(connection)
    if version is not None and version not in REVISIONS:
        raise StoreError(
            f"store {shown(url)} was written by a newer kswatch (schema {version}, this one knows {HEAD}); "
            "update kswatch, or name another store"
        )
    return version
