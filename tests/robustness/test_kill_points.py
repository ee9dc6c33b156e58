"""A process killed at each of its commits, all in turn: what goes on after it finds nothing lost or doubled.

The fast tests go on from what one life leaves at each of its commits; the slow ones kill a real process each.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from kswatch.db.interchange.importing import export_runs, import_file
from kswatch.db.queries import basic as queries
from kswatch.db.request_queue import requests
from kswatch.db.store import Store
from kswatch.profiler.runs.session import resume, run_suite
from tests.robustness.kill_points import contents, differences, is_killed, snapshots
from tests.robustness.planted_night import SUITE, PlantedHost

LATER = timedelta(minutes=5)
"""After it, the request of a server that was killed before it held the device is given up."""
Act = Callable[[PlantedHost], object]
CLEARLY_SLOWER = 1.038


@dataclass
class Kills:
    """Ends a life at each of its commits, goes on, and finds the store of a life that nothing disturbed."""

    host: PlantedHost
    folder: Path

    def survive(self, life: Act, afterwards: Act) -> int:
        """Go on from what each commit left; the number of commits."""
        *left, whole = self._snapshots(life)
        expected = _contents(self._at(whole))
        for place, file in enumerate(left, 1):
            self._go_on(self._at(file), afterwards, expected, f"killed before commit {place}")
        return len(left)

    def survive_sigkill(self, life: Act, afterwards: Act) -> int:
        """The same by killing a process before and after each commit."""
        undisturbed = self._copy("undisturbed.db")
        life(undisturbed)
        expected = _contents(undisturbed)
        for number in count(1):
            for moment in ("before", "after"):
                host = self._copy(f"{moment}_{number}.db")
                if not is_killed(lambda host=host: life(host), number, moment):
                    return number - 1
                self._go_on(host, afterwards, expected, f"killed {moment} commit {number}")
        raise AssertionError

    def _snapshots(self, life: Act) -> list[Path]:
        host = self._copy("living.db")
        (self.folder / "kept").mkdir()
        return snapshots(lambda: life(host), self.folder / "living.db", self.folder / "kept")

    def _go_on(self, host: PlantedHost, afterwards: Act, expected: dict[str, Any], where: str) -> None:
        afterwards(host)
        with closing(Store.open(host.url)) as store:
            found = differences(store, expected)
        assert not found, "\n".join([where, *found])

    def _copy(self, name: str) -> PlantedHost:
        return self._at(Path(shutil.copy(self.folder / "kswatch.db", self.folder / name)))

    def _at(self, path: Path) -> PlantedHost:
        return replace(self.host, url=f"sqlite:///{path}")


def _contents(host: PlantedHost) -> dict[str, Any]:
    with closing(Store.open(host.url)) as store:
        assert {request.state for request in queries.requests(store)} <= {"done"}
        return contents(store)


@pytest.fixture
def kills(planted: PlantedHost, tmp_path: Path) -> Kills:
    return Kills(planted, tmp_path)


def serve_later(host: PlantedHost) -> None:
    host.serve(LATER)


def profile(host: PlantedHost) -> None:
    with closing(Store.open(host.url)) as store:
        run_suite(store, SUITE.name, context=host.context())


def profile_on(host: PlantedHost) -> None:
    """`kswatch profile --resume`, or where there is nothing to resume yet `kswatch profile`."""
    with closing(Store.open(host.url)) as store:
        runs = queries.runs(store, kinds=("ad_hoc",))
        if not runs:
            run_suite(store, SUITE.name, context=host.context())
        elif runs[0].state != "finished":
            resume(store, context=host.context())


def serve_request(host: PlantedHost) -> None:
    with closing(Store.open(host.url)) as store:
        if not queries.requests(store):
            requests.submit(store, SUITE.name, "cpu", asked_by="a tester")
    host.serve(LATER)


def test_a_night_its_judgement_and_its_confirmation_survive_a_kill_at_each_commit(kills):
    assert kills.survive(PlantedHost.serve, serve_later) > 40


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("slower", [1.03, CLEARLY_SLOWER, 1.5])
def test_a_night_survives_sigkill_at_each_commit_whatever_its_confirmation_shows(kills, slower):
    kills.host = replace(kills.host, slower=slower)
    assert kills.survive_sigkill(PlantedHost.serve, serve_later) > 20


def nightly_later(host: PlantedHost) -> None:
    host.nightly(LATER)


def test_a_night_by_cron_survives_a_kill_at_each_commit_when_it_is_started_again(kills):
    assert kills.survive(PlantedHost.nightly, nightly_later) > 40


def test_a_run_survives_a_kill_at_each_commit(kills):
    assert kills.survive(profile, profile_on) > 10


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("life", "afterwards"), [(profile, profile_on), (serve_request, serve_request)])
def test_a_run_and_a_request_survive_sigkill_at_each_commit(kills, life, afterwards):
    kills.host = replace(kills.host, due=kills.host.due + timedelta(hours=1))  # no night is due
    assert kills.survive_sigkill(life, afterwards) > 10


def import_exported(host: PlantedHost) -> None:
    """Import what the planted store was exported to."""
    with closing(Store.open(host.url)) as store:
        import_file(store, host.exported)


@pytest.mark.parametrize("way", ["survive", pytest.param("survive_sigkill", marks=pytest.mark.slow)])
def test_an_import_survives_a_kill_at_each_commit_when_the_file_is_imported_again(kills, empty_file, way):
    kills.host = replace(kills.host, exported=kills.folder / "exported.jsonl")
    with closing(Store.open(kills.host.url)) as store:
        export_runs(store, kills.host.exported, "jsonl")
        nights = len(queries.runs(store, limit=None))
    shutil.copy(empty_file, kills.folder / "kswatch.db")
    assert getattr(kills, way)(import_exported, import_exported) == nights == 12
