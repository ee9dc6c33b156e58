"""A store and a scripted engine, as the tests of the profiler have them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kswatch.db.store import Store
from tests.profiler.conftest import Scripted


@pytest.fixture(autouse=True)
def one_cpu_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path / 'kswatch.db'}")
    yield opened
    opened.close()


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()
