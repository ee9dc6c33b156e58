"""Backups of a store that other processes may be writing to."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from kswatch.db.store import Store
from kswatch.errors import StoreError, UsageError


def backup(store: Store, file: Path, with_artifacts: bool = False) -> int:
    """Copy a SQLite store while others write to it, and return the size of the copy in bytes.

    The copy is one consistent, checked state; it gets its name only when it is complete. Without
    `with_artifacts` it lacks the bytes of artifacts, not the rows that describe them.

    Raises:
        UsageError: the store is on a server, which has a backup tool of its own, or the file exists.
        StoreError: the copy cannot be written, or is damaged.
    """
    url = store.engine.url
    if url.get_backend_name() != "sqlite" or not url.database:
        command = f"pg_dump --format=custom --file={file} {store.name}"
        raise UsageError(f"store {store.name} is a server's database: back it up with `{command}`")
    if file.exists():
        raise UsageError(f"{file} exists; name a new file, such as one with today's date")
    part = file.with_name(f"{file.name}.part")
    try:
        part.unlink(missing_ok=True)
        _copy(store, part, with_artifacts)
        part.replace(file)
    except (OSError, sqlite3.Error) as error:
        part.unlink(missing_ok=True)
        raise StoreError(f"backup {file}: {error}; free some space, or name another place") from error
    return file.stat().st_size


def _copy(store: Store, part: Path, with_artifacts: bool) -> None:
    with closing(sqlite3.connect(part)) as copy:
        with store.engine.connect() as connection:
            source = connection.connection.driver_connection
            assert isinstance(source, sqlite3.Connection)
            # all in one step: one state of the store, while writers append to the write-ahead log
            source.backup(copy, pages=-1)
        if not with_artifacts and copy.execute("DELETE FROM artifact_content").rowcount:
            copy.commit()
            copy.execute("VACUUM")
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, which a read-only disk can hold
        if (result := copy.execute("PRAGMA quick_check").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(f"the copy is damaged: {result}")
