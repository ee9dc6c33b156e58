"""Errors of the database driver, translated into one sentence with the cure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from kswatch.db.backend.store_url import hide_secrets, shown
from kswatch.errors import StoreError, UsageError

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
    (
        "no equivalent in encoding",
        "its encoding lacks a character of a text; move it into a database with ENCODING 'UTF8'",
    ),
    ("too many c", "the server has no connection left; end other clients, or raise its limit"),
    ("connection slots", "the server has no connection left; end other clients, or raise its limit"),
    ("value too long", "a text is too long for its column; shorten it"),
    ("terminating connection", "the server ended the connection; start again when it is up"),
    ("connection", "the server does not answer; check the address in KSWATCH_DATABASE_URL"),
    ("authentication", "the server refuses the user or password in KSWATCH_DATABASE_URL"),
)


_TOO_LARGE = "a number is larger than the store's columns"
_OUT_OF_RANGE = "22003"
"""PostgreSQL's code for a number that its column cannot hold."""

_LOST_STATES = ("08", "57P")
"""PostgreSQL's error classes for a broken connection, and for a server that shuts down or starts."""


class ConnectionLostError(StoreError):
    """The connection was lost in a transaction, or the server does not answer: nothing was written.

    If it was lost during the commit, the transaction may have been written; recording again replaces it.
    """


@contextmanager
def translate_db_errors(url: URL) -> Iterator[None]:
    """Raise errors of the database driver as `StoreError`; violated constraints stay as they are."""
    try:
        yield
    except IntegrityError:
        raise
    except OverflowError:  # SQLite's driver, which binds 64 bits
        raise UsageError(f"{_TOO_LARGE}; no run, alert or cell has it") from None
    except UnicodeDecodeError as error:  # a message of SQLite that quotes damaged text
        raise StoreError(
            f"store {shown(url)}: the file is damaged ({error.reason} in it); "
            "put a backup in its place, or `kswatch import` your exports into a new one"
        ) from None
    except UnicodeEncodeError as error:
        text = ascii(error.object[:60])
        raise UsageError(f"the text {text} is not UTF-8, so no store holds it; write it as UTF-8") from None
    except DBAPIError as error:
        message = hide_secrets(" ".join(str(error.orig).split()), url)
        cure = next((cure for sign, cure in _CURES if sign in message.lower()), "run `kswatch db check`")
        if "cannot contain NUL" in message:  # psycopg, before it sends anything
            raise UsageError("a text with a NUL character is not UTF-8, so no store holds it") from error
        if getattr(error.orig, "sqlstate", None) == _OUT_OF_RANGE:
            raise UsageError(f"{_TOO_LARGE}; no run, alert or cell has it") from error
        kind = ConnectionLostError if _is_lost(error) else StoreError
        raise kind(f"store {shown(url)}: {cure} (database error: {message})") from error


def _is_lost(error: DBAPIError) -> bool:
    # None where the server did not answer; SQLite has no codes, and its files do not disconnect
    state: str | None = getattr(error.orig, "sqlstate", "")
    disconnected = isinstance(error, OperationalError) and (state is None or state.startswith(_LOST_STATES))
    return disconnected or error.connection_invalidated
