"""The file of a SQLite store, and whether it is still the one that was opened.

A file that is deleted or replaced stays open: every transaction succeeds, and all of it is lost with the last
connection. So each transaction that writes checks the file, and what was written is copied beside it.
"""

from __future__ import annotations

import os
import sqlite3
import weakref
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from kswatch.errors import StoreError


@dataclass
class _StoreFile:
    path: Path
    identity: tuple[int, int]
    """Device and inode of the file that was opened."""
    rescue: Path | None = None
    """Where its contents were copied to, once it was lost."""


_files: weakref.WeakKeyDictionary[Engine, _StoreFile] = weakref.WeakKeyDictionary()


def remember_file(engine: Engine, path: Path) -> None:
    """Remember which file the engine has opened; a connection of it stays open from now on."""
    with engine.connect():
        _files[engine] = _StoreFile(path.absolute(), _identity(path))


def require_same_file(engine: Engine) -> None:
    """Check that the file at the store's path is still the one that was opened.

    Raises:
        StoreError: it was deleted or replaced; the message names the copy of what it held.
    """
    file = _files.get(engine)
    if file is None:
        return
    with suppress(OSError):
        if _identity(file.path) == file.identity:
            return
    file.rescue = file.rescue or _rescue(engine, file.path)
    change = "was replaced by another file" if file.path.exists() else "was deleted"
    kept = f"its contents are kept in {file.rescue}" if file.rescue else "its contents are lost"
    raise StoreError(
        f"store {file.path} {change} while it was in use: {kept}; "
        "stop other users of it, put the right file in its place, and start again"
    )


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _rescue(engine: Engine, path: Path) -> Path | None:
    """A copy of the opened file beside its former place, made through a connection that is still open."""
    copy = path.with_name(f"{path.name}.rescued-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}")
    try:
        with engine.connect() as connection, closing(sqlite3.connect(copy)) as target:
            source = connection.connection.driver_connection
            if not isinstance(source, sqlite3.Connection):
                return None
            source.backup(target)
            if target.execute("SELECT 1 FROM sqlite_master WHERE name = 'run'").fetchone():
                return copy
    except (sqlite3.Error, OSError):
        pass
    with suppress(OSError):
        copy.unlink()
    return None
