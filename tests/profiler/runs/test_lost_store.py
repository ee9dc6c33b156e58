"""A database connection lost in mid-run: a real PostgreSQL ends it, or is not to be found for a while."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import make_url

from kswatch.db.queries import basic as queries
from kswatch.db.records import RevisionRecord
from kswatch.db.request_queue import requests
from kswatch.db.store import Store
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.runs import session
from kswatch.profiler.service.server import Server
from tests.profiler.conftest import run_next

PATTERNS = ["2,8,8,2", "4,8,8,1", "1,8,8,4"]


@pytest.fixture(autouse=True)
def one_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is committed meanwhile must not make a resumed run one of another commit."""
    monkeypatch.setattr(session, "running_revision", lambda: RevisionRecord("f" * 40))


@pytest.fixture
def url(postgres):
    return postgres.emptied()


@pytest.fixture
def store(url) -> Iterator[Store]:
    opened = Store.open(url)
    yield opened
    opened.close()


class Outage:
    """Ends connections of a store in the middle of what they do, and hides the server's socket."""

    def __init__(self, store: Store, postgres, url: str) -> None:
        self._store = store
        self._postgres = postgres
        parsed = make_url(url)
        self._socket = next(Path(str(parsed.query["host"])).glob(".s.PGSQL.*[0-9]"))
        self._away = self._socket.with_name("away")
        self.ended = 0

    def end(self, backend: int) -> None:
        """End one connection, as an administrator or a restart does."""
        with self._postgres.engine.connect() as other:
            assert other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": backend}).scalar()
        self.ended += 1

    def in_the_middle_of(self, sign: str, places: set[int]) -> None:
        """End the connection just before these of the statements that begin with the sign, counted from 0."""
        seen = []

        def end(connection: Connection, cursor, statement, *rest: object) -> None:
            if statement.startswith(sign):
                seen.append(statement)
                if len(seen) - 1 in places:
                    self.end(cursor.connection.info.backend_pid)

        event.listen(self._store.engine, "before_cursor_execute", end)

    def begin(self, attempts: int) -> None:
        """End all connections; none can be made until somebody tries for the n-th time."""
        tried = []

        def count(*connecting: object) -> None:
            tried.append(connecting)
            if len(tried) == attempts:
                self.end_it()

        event.listen(self._store.engine, "do_connect", count)
        query = text("SELECT pid FROM pg_stat_activity WHERE datname = :name")
        with self._postgres.engine.connect() as other:
            backends = other.scalars(query, {"name": self._store.engine.url.database}).all()
            self._socket.rename(self._away)
            for backend in backends:
                other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": backend})

    def end_it(self) -> None:
        """The server is to be found again."""
        if self._away.exists():
            self._away.rename(self._socket)


@pytest.fixture
def outage(store, postgres, url) -> Iterator[Outage]:
    outage = Outage(store, postgres, url)
    yield outage
    outage.end_it()


def serve(store: Store, scripted, **options: float) -> tuple[Server, int]:
    arguments = {"pattern": PATTERNS, "batch": [16], "implementation": ["fused", "bmm"]}
    asked = requests.submit(store, "ad_hoc", "cpu", asked_by="a tester", arguments=arguments)
    config = ProfilerConfig(devices=("cpu",), poll_s=0.01, **options)
    context = scripted.context(config=config)
    return Server(store, context, lambda run_id: context.stop.set()), asked


def assert_whole(store: Store, asked: int) -> None:
    """The request is done by one run that holds every cell once."""
    assert queries.request(store, asked).state == "done"
    [run] = queries.runs(store)
    cells = [(row.problem_id, row.implementation) for row in queries.measurements(store, run.id, kinds=None)]
    assert run.state == "finished"
    assert len(cells) == len(set(cells)) == run.planned_cells == 12


@pytest.mark.slow
def test_a_connection_that_ends_while_a_problem_is_recorded_costs_no_measurement(store, outage, scripted):
    server, asked = serve(store, scripted)
    outage.in_the_middle_of("INSERT INTO measurement", {1})
    assert run_next(server)
    assert outage.ended == 1
    assert_whole(store, asked)
    assert len(scripted.tasks) == 6, "what was measured is recorded, not measured again"


def test_a_connection_lost_twice_requeues_the_request_and_its_run_is_resumed(store, outage, scripted):
    server, asked = serve(store, scripted)
    outage.in_the_middle_of("INSERT INTO measurement", {1, 2})
    assert run_next(server)
    assert outage.ended == 2
    request = queries.request(store, asked)
    assert (request.state, request.message[:22]) == ("queued", "waits for its database")
    assert queries.run(store, 1).state == "interrupted"
    assert run_next(server)
    assert_whole(store, asked)
    assert len(scripted.tasks) == 7, "one problem was measured twice, and recorded once"


@pytest.mark.slow
def test_a_database_that_restarts_between_two_problems_is_waited_for(store, outage, scripted):
    server, asked = serve(store, scripted)
    scripted.script = lambda task: len(scripted.tasks) == 2 and outage.begin(attempts=2)
    assert run_next(server)
    assert_whole(store, asked)
    assert len(scripted.tasks) == 6


def test_a_database_that_stays_away_does_not_end_the_server_and_the_run_is_resumed(
    store, outage, scripted, caplog
):
    server, asked = serve(store, scripted, store_absent_s=0.01, lease_s=0.5)
    scripted.script = lambda task: len(scripted.tasks) == 2 and outage.begin(attempts=20)
    server.serve()  # until the run is judged
    assert "trying again" in caplog.text
    assert_whole(store, asked)
