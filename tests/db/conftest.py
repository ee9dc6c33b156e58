"""Tests of the store run on both backends: SQLite, and a PostgreSQL that starts for the session."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kswatch.db.store import Store

_numbers = itertools.count()


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def empty_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without any table, of the backend under test."""
    if backend == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    return request.getfixturevalue("postgres").create()


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
