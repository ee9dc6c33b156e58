"""URLs of stores: read from what users write, and shown without anything that may be secret.

A password may stand where no parser looks for it: behind a typing error, in the query, beside an unescaped
`@`. So a shown URL is made of parts that are known to be harmless, and everything else is `(hidden)`.
"""

from __future__ import annotations

import re
from itertools import chain
from urllib.parse import unquote

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from kswatch.errors import ConfigurationError

HIDDEN = "(hidden)"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,63}")
_HOST = re.compile(r"[A-Za-z0-9_.-]{1,253}|[0-9A-Fa-f:.]{2,45}")
_SQLITE_OPTIONS = {"cache", "immutable", "isolation_level", "mode", "nolock", "timeout", "uri", "vfs"}
_EXAMPLES = "write sqlite:///kswatch.db or postgresql://user@host/name"


def parse_store_url(text: str) -> URL:
    """The URL of a store, by the driver that is installed with kswatch.

    Raises:
        ConfigurationError: it is none, or of another kind of database; the message does not repeat it.
    """
    # the scheme that many hosts hand out, which SQLAlchemy does not know
    text = re.sub(r"^postgres(?=://|\+)", "postgresql", text.strip())
    try:
        url = make_url(text)
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, ValueError):
        raise ConfigurationError(
            f"{_as_text(text)} is not the URL of a store; {_EXAMPLES}; "
            "in a password write @ : / ? # % as %40 %3A %2F %3F %23 %25"
        ) from None
    backend = url.get_backend_name()
    if backend == "sqlite" and url.host is None and url.password is None:
        # decoded here: whether SQLAlchemy decodes the name of a database depends on its version
        written, mark, _ = text.partition("///")[2].partition("?")
        if mark and not set(url.query) & _SQLITE_OPTIONS:
            raise ConfigurationError(
                f"store {_as_text(written)} is followed by ? without an option; in a path write ? as %3F"
            )
        return url.set(database=unquote(written, errors="surrogateescape")) if written else url
    if backend != "postgresql":
        found = "this form of SQLite" if backend == "sqlite" else _safe(backend, _NAME)
        raise ConfigurationError(f"a store is SQLite or PostgreSQL, not {found}; {_EXAMPLES}")
    if url.host and not _HOST.fullmatch(url.host):
        raise ConfigurationError(
            f"store {shown(url)}: the host is not a name or address; {_EXAMPLES}; "
            "in a password write @ : / ? # % as %40 %3A %2F %3F %23 %25"
        )
    return url.set(drivername="postgresql+psycopg")


def shown(url: URL) -> str:
    """The store's display name: a path, or a server's URL without password, query and unusual parts."""
    if url.get_backend_name() == "sqlite":
        return url.database or ":memory:"
    user = f"{_safe(url.username, _NAME)}@" if url.username else ""
    host = _safe(url.host, _HOST) if url.host else ""
    port = f":{url.port}" if url.port else ""
    return f"{url.get_backend_name()}://{user}{host}{port}/{_safe(url.database or '', _NAME)}"


def hide_secrets(message: str, url: URL) -> str:
    """A message of the database driver without the parts of the URL that `shown` leaves out."""
    if url.get_backend_name() == "sqlite":
        return message
    given = [(value,) if isinstance(value, str) else value for value in url.query.values()]
    parts = [(url.username, _NAME), (url.host, _HOST), (url.database, _NAME)]
    unusual = [part for part, pattern in parts if part and not pattern.fullmatch(part)]
    # the longest first: one may hold another
    secrets = {str(url.password or ""), *chain.from_iterable(given), *unusual} - {""}
    for secret in sorted(secrets, key=len, reverse=True):
        message = message.replace(secret, HIDDEN)
    return message


def _safe(part: str | None, pattern: re.Pattern[str]) -> str:
    return part or "" if not part or pattern.fullmatch(part) else HIDDEN


def _as_text(text: str) -> str:
    """What was written in place of a URL, where it can hold no password: a plain name or path."""
    is_plain = len(text) <= 255 and not re.search(r"[:@?=&%#\x00-\x1f\x7f]", text) and text.isprintable()
    return repr(text) if is_plain else HIDDEN
