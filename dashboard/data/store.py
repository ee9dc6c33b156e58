"""The store of the pages: opened once, read-only; written through short-lived connections."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st
from sqlalchemy import event
from sqlalchemy.pool import ConnectionPoolEntry

from kswatch.dashboard.data.server_settings import DATABASE_URL
from kswatch.db.store import Store

DEFAULT_URL = "sqlite:///kswatch.db"


def database_url() -> str:
    """The URL that `kswatch dashboard` set, else kswatch.db in this folder."""
    return os.environ.get(DATABASE_URL) or DEFAULT_URL


def reading_store() -> Store:
    """The store, through connections that cannot write.

    Raises:
        StoreError: it does not exist or is no store of kswatch.
    """
    return _open_for_reading(database_url())


@st.cache_resource(show_spinner=False)
def _open_for_reading(url: str) -> Store:
    return open_read_only(url)


def open_read_only(url: str) -> Store:
    """The store at a URL, through connections that cannot write.

    Raises:
        StoreError: it does not exist or is no store of kswatch.
    """
    store = Store.open(url, create=False)
    if store.engine.dialect.name == "sqlite":
        event.listen(store.engine, "connect", _refuse_writes)
        # connections made while opening could write: drop them
        store.engine.dispose()
        return store
    return Store(store.engine.execution_options(postgresql_readonly=True))


def _refuse_writes(connection: object, _entry: ConnectionPoolEntry) -> None:
    connection.execute("PRAGMA query_only = ON")  # type: ignore[attr-defined]


@contextmanager
def writing_store() -> Iterator[Store]:
    """The store for one action, to pass to `db.request_queue` or `db.alerts.lifecycle`; closed at the end."""
    store = Store.open(database_url(), create=False)
    try:
        yield store
    finally:
        store.close()
