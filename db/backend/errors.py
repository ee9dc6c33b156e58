"""What a database says when it fails, as one sentence with the cure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from kswatch.errors import StoreError

_CURES: tuple[tuple[str, str], ...] = (
    ("disk is full", "the disk is full; nothing recorded is lost: free some space and start again"),
    ("no space left", "the disk is full; nothing recorded is lost: free some space and start again"),
    (
        "disk i/o error",
        "the disk refuses to write (full, or a quota); nothing recorded is lost: free some space",
    ),
    ("readonly", "it cannot be written; make the file and its folder writable, or name another store"),
    ("read-only", "it cannot be written; make the file and its folder writable, or name another store"),
    ("unable to open", "it cannot be opened; check that its folder exists and may be written"),
    ("locked", "another process has held it for too long; see who writes to it, then try again"),
    ("not a database", "the file is no SQLite database; move it away, a new one is made at the next start"),
    ("malformed", "the file is damaged; move it away and `kswatch import` your exports into a new one"),
    ("value too long", "a text is too long for its column; shorten it"),
    ("terminating connection", "the server ended the connection; start again when it is up"),
    ("connection", "the server does not answer; check the address in KSWATCH_DATABASE_URL"),
    ("authentication", "the server refuses the user or password in KSWATCH_DATABASE_URL"),
)


_LOST_STATES = ("08", "57P")
"""Classes of PostgreSQL's codes for a connection that broke, and for a server that is ended or starts."""


class ConnectionLostError(StoreError):
    """The server went away in the middle of a transaction, or does not answer: nothing of it was written.

    Where it went in the very commit nobody knows; recording again replaces what was written.
    """


@contextmanager
def told_plainly(url: URL) -> Iterator[None]:
    """Turns what the database driver raises inside into a `StoreError`; broken constraints stay."""
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        raise store_error(url, error) from error


def store_error(url: URL, error: DBAPIError) -> StoreError:
    """The sentence for one failure of the driver."""
    said = " ".join(str(error.orig).split())
    cure = next((cure for sign, cure in _CURES if sign in said.lower()), "run `kswatch db check`")
    kind = ConnectionLostError if _is_lost(error) else StoreError
    return kind(f"store {shown(url)}: {cure} (the database said: {said})")


def _is_lost(error: DBAPIError) -> bool:
    # None where a server's client got no answer; SQLite has no codes, and its files do not go away
    state: str | None = getattr(error.orig, "sqlstate", "")
    silent = isinstance(error, OperationalError) and (state is None or state.startswith(_LOST_STATES))
    return silent or error.connection_invalidated


def shown(url: URL) -> str:
    """The store's name for people: a path, or a URL without its password."""
    if url.get_backend_name() == "sqlite":
        return url.database or ":memory:"
    return url.render_as_string(hide_password=True)
