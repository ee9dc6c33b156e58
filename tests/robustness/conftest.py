"""A host with a planted device, and stores on both backends."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from kswatch.db.interchange.importing import export_runs
from kswatch.db.store import Store
from kswatch.profiler.planning import suites
from kswatch.profiler.runs import session
from tests.db.conftest import backend, empty_url, new_store, store, url  # noqa: F401  (fixtures)
from tests.profiler.conftest import scripted  # noqa: F401
from tests.robustness.planted_night import REVISION, SUITE, PlantedHost


@pytest.fixture(scope="session")
def quiet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with the quiet nights of the planted device, to copy."""
    path = tmp_path_factory.mktemp("quiet") / "kswatch.db"
    PlantedHost(f"sqlite:///{path}").fill()
    return path


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch, quiet_file: Path, tmp_path: Path) -> PlantedHost:
    """The planted host on a copy of that store."""
    monkeypatch.setattr(suites, "SUITES", (*suites.SUITES, SUITE))
    monkeypatch.setattr(session, "running_revision", lambda: REVISION)
    monkeypatch.setattr(session, "revision_note", lambda: None)
    shutil.copy(quiet_file, tmp_path / "kswatch.db")
    return PlantedHost(f"sqlite:///{tmp_path / 'kswatch.db'}")


@pytest.fixture
def importing(planted: PlantedHost, empty_file: Path) -> PlantedHost:
    """A host whose store is empty, with a file of twelve nights to import."""
    path = Path(planted.url.removeprefix("sqlite:///"))
    exported = path.with_name("exported.jsonl")
    with closing(Store.open(planted.url)) as nights:
        export_runs(nights, exported, "jsonl")
    shutil.copy(empty_file, path)
    return replace(planted, exported=exported)
