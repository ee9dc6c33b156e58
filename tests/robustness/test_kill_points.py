"""A process killed at each of its commits, all in turn: what goes on after it finds nothing lost or doubled.

The fast tests go on from what one life leaves at each of its commits; the slow ones kill a real process each.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from kswatch.db.interchange.importing import import_file
from kswatch.db.queries import basic as queries
from kswatch.db.request_queue import requests
from kswatch.db.store import Store
from kswatch.profiler.runs.session import resume, run_suite
from tests.robustness.kill_points import Moment, contents, differences, is_killed, snapshots
from tests.robustness.planted_night import SUITE, PlantedHost

LATER = timedelta(minutes=5)
"""After it, the request of a server that was killed before it held the device is given up."""
Act = Callable[[PlantedHost], object]
Copied = Callable[[str], str]
"""Copies one store under a name, and returns the URL of the copy."""
CLEARLY_SLOWER = 1.038


@dataclass
class Kills:
    """Ends a life at each of its commits, goes on, and finds the store of a life that nothing disturbed."""

    host: PlantedHost
    copied: Copied
    """Copies the store of the host."""

    def survive(self, life: Act, afterwards: Act, sample: int | None = None) -> int:
        """Go on from what each commit left, or a sample of them at equal distances; the number of commits.

        Of SQLite stores alone.
        """
        living = self._copy("living.db")
        path = Path(living.url.removeprefix("sqlite:///"))
        (path.parent / "kept").mkdir()
        *left, whole = snapshots(lambda: life(living), path, path.parent / "kept")
        expected = _contents(self._at(whole))
        step = max(1.0, len(left) / sample) if sample else 1.0
        for place in sorted({int(number * step) for number in range(int(len(left) / step))}):
            self._go_on(self._at(left[place]), afterwards, expected, f"killed before commit {place + 1}")
        return len(left)

    def survive_sigkill(self, life: Act, afterwards: Act) -> int:
        """The same by killing a process before and after each commit but the last: that one is the end."""
        undisturbed = self._copy("undisturbed.db")
        life(undisturbed)
        expected = _contents(undisturbed)
        for number in count(1):
            if not self._goes_on(life, afterwards, (number, "before"), expected):
                return number - 1
            if number > 1:
                assert self._goes_on(life, afterwards, (number - 1, "after"), expected)
        raise AssertionError

    def _goes_on(self, life: Act, afterwards: Act, at: tuple[int, Moment], expected: dict[str, Any]) -> bool:
        """Kill the life there and go on; False where it ended before."""
        number, moment = at
        host = self._copy(f"{moment}_{number}.db")
        if not is_killed(lambda: life(host), number, moment):
            return False
        self._go_on(host, afterwards, expected, f"killed {moment} commit {number}")
        return True

    def _go_on(self, host: PlantedHost, afterwards: Act, expected: dict[str, Any], where: str) -> None:
        afterwards(host)
        with closing(Store.open(host.url)) as store:
            found = differences(store, expected)
        assert not found, "\n".join([where, *found])

    def _copy(self, name: str) -> PlantedHost:
        return replace(self.host, url=self.copied(name))

    def _at(self, path: Path) -> PlantedHost:
        return replace(self.host, url=f"sqlite:///{path}")


def _contents(host: PlantedHost) -> dict[str, Any]:
    with closing(Store.open(host.url)) as store:
        assert {request.state for request in queries.requests(store)} <= {"done"}
        return contents(store)


@pytest.fixture
def kills(planted: PlantedHost) -> Kills:
    return Kills(planted, copies_of_file(Path(planted.url.removeprefix("sqlite:///"))))


@pytest.fixture(params=["sqlite", "postgresql"])
def copies_on_both(request: pytest.FixtureRequest) -> Iterator[Callable[[PlantedHost], Copied]]:
    """Makes copies of a host's store on either database, on PostgreSQL of one that is filled likewise."""
    if request.param == "sqlite":
        yield lambda host: copies_of_file(Path(host.url.removeprefix("sqlite:///")))
        return
    postgres, copies = request.getfixturevalue("postgres"), []

    def made(host: PlantedHost) -> Copied:
        template = postgres.create()
        if host.exported == Path():
            replace(host, url=template).fill()
        else:
            Store.open(template).close()

        def copied(name: str) -> str:
            postgres.drop(*copies)
            copies[:] = [postgres.create(template)]
            return copies[0]

        return copied

    yield made
    postgres.drop(*copies)


def copies_of_file(path: Path) -> Copied:
    return lambda name: f"sqlite:///{shutil.copy(path, path.with_name(name))}"


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


def nightly_later(host: PlantedHost) -> None:
    host.nightly(LATER)


def import_exported(host: PlantedHost) -> None:
    """Import what the planted store was exported to."""
    with closing(Store.open(host.url)) as store:
        import_file(store, host.exported)


ALL = pytest.param(None, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])
NIGHTS = {
    "server": (PlantedHost.serve, serve_later),
    "cron": (PlantedHost.nightly, nightly_later),
}


@pytest.mark.parametrize("sample", [5, ALL])
@pytest.mark.parametrize("by", NIGHTS)
def test_a_night_its_judgement_and_its_confirmation_survive_a_kill_at_each_commit(kills, by, sample):
    assert kills.survive(*NIGHTS[by], sample) > 40


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("by", NIGHTS)
@pytest.mark.parametrize("slower", [1.03, CLEARLY_SLOWER, 1.5])
def test_a_night_survives_sigkill_at_each_commit_whatever_its_confirmation_shows(
    planted, copies_on_both, slower, by
):
    kills = Kills(replace(planted, slower=slower), copies_on_both(planted))
    assert kills.survive_sigkill(*NIGHTS[by]) > 20


@pytest.mark.parametrize("sample", [5, ALL])
def test_a_run_survives_a_kill_at_each_commit(kills, sample):
    assert kills.survive(profile, profile_on, sample) > 10


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("life", "afterwards"), [(profile, profile_on), (serve_request, serve_request)])
def test_a_run_and_a_request_survive_sigkill_at_each_commit(planted, copies_on_both, life, afterwards):
    copied = copies_on_both(planted)
    no_night_is_due = replace(planted, due=planted.due + timedelta(hours=1))
    assert Kills(no_night_is_due, copied).survive_sigkill(life, afterwards) > 10


def test_an_import_survives_a_kill_at_each_commit_when_the_file_is_imported_again(importing):
    kills = Kills(importing, copies_of_file(Path(importing.url.removeprefix("sqlite:///"))))
    assert kills.survive(import_exported, import_exported, sample=5) == 12


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_import_survives_sigkill_at_each_commit(importing, copies_on_both):
    assert Kills(importing, copies_on_both(importing)).survive_sigkill(import_exported, import_exported) == 12
