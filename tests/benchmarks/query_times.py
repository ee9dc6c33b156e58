"""How long each page asks the store, in this process, with nothing remembered.

    python tests/benchmarks/query_times.py sqlite:///years.db

Time runs while a page has a session of the store open: the queries and reading their rows. CPU time of
the page's thread stands beside the wall time, which a busy machine stretches.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from streamlit.testing.v1 import AppTest

from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.navigation import PAGES
from kswatch.db.queries import basic as queries
from kswatch.db.queries.cells import MEASURED_NAMES, cells_of_problem
from kswatch.db.store import Store


@dataclass
class RunRequest:
    """What one page asked."""

    wall_ms: float = 0.0
    cpu_ms: float = 0.0
    page_cpu_ms: float = 0.0
    by_reader: dict[str, float] = field(default_factory=dict)
    """CPU ms by the function that opened the session."""


@contextmanager
def counted(asked: RunRequest) -> Iterator[None]:
    """Count all sessions of all stores."""
    original = Store.session

    @contextmanager
    def session(store: Store) -> Iterator[object]:
        reader = sys._getframe(2).f_code.co_name
        wall, cpu = time.perf_counter(), time.thread_time()
        with original(store) as opened:
            yield opened
        spent = 1e3 * (time.thread_time() - cpu)
        asked.wall_ms += 1e3 * (time.perf_counter() - wall)
        asked.cpu_ms += spent
        asked.by_reader[reader] = asked.by_reader.get(reader, 0.0) + spent

    Store.session = session  # type: ignore[method-assign]
    try:
        yield
    finally:
        Store.session = original  # type: ignore[method-assign]


def _script(first: str) -> None:
    from kswatch.dashboard.navigation import navigation

    navigation(first).run()


def page_asks(path: str) -> RunRequest:
    """What a page asks the store that KSWATCH_DATABASE_URL names, nothing being remembered."""
    cached_queries._cached.clear()
    asked = RunRequest()
    with counted(asked):
        started = time.process_time()
        page = AppTest.from_function(_script, args=(path,), default_timeout=300).run()
        asked.page_cpu_ms = 1e3 * (time.process_time() - started)
    assert not page.exception, page.exception[0].value
    return asked


def reads_beside_pages(url: str) -> Iterator[tuple[str, RunRequest]]:
    """The reads of `kswatch runs`, `kswatch check` and the history of one problem."""
    from kswatch.ci.check import judge
    from kswatch.ci.config import CiConfig

    store = Store.open(url, create=False)
    newest = queries.runs(store, limit=1)[0]
    problem = queries.problems(store)[0]
    run_ids = [run.id for run in queries.runs(store, newest.device_id, limit=None)]
    for name, read in (
        ("`runs`", lambda: queries.runs(store)),
        ("`check`", lambda: judge(store, newest.id, CiConfig(), now=datetime.now(UTC))),
        ("one problem", lambda: cells_of_problem(store, run_ids, problem, MEASURED_NAMES)),
    ):
        read()  # what is compiled and loaded once
        asked = RunRequest()
        with counted(asked):
            read()
        yield name, asked


def main() -> None:
    parser = argparse.ArgumentParser(description="Time what every page asks the store.")
    parser.add_argument("url")
    parser.add_argument("--readers", action="store_true", help="also by the function that asked")
    parser.add_argument("--repeat", type=int, default=3, help="the least of so many is told")
    parser.add_argument("--json", action="store_true", help="also one JSON document on stdout")
    given = parser.parse_args()
    os.environ["KSWATCH_DATABASE_URL"] = given.url
    logging.disable(logging.WARNING)  # Streamlit's, on being asked outside of a server
    page_asks(PAGES[0].path)  # imports, and the store's first pages
    rows: list[dict[str, object]] = []
    print(f"{'page':<14}{'queries (ms)':>14}{'of it CPU (ms)':>16}{'page CPU (ms)':>15}", file=sys.stderr)
    for entry in PAGES:
        asked = min((page_asks(entry.path) for _ in range(given.repeat)), key=lambda one: one.wall_ms)
        _tell(entry.path, asked)
        rows.append({"what": entry.path, "queries_ms": asked.wall_ms})
        if given.readers:
            for reader, spent in sorted(asked.by_reader.items(), key=lambda item: -item[1])[:6]:
                print(f"    {reader:<40}{spent:>8.1f}", file=sys.stderr)
    for name, asked in reads_beside_pages(given.url):
        _tell(name, asked)
        rows.append({"what": name, "queries_ms": asked.wall_ms})
    if given.json:
        print(json.dumps(rows))


def _tell(what: str, asked: RunRequest) -> None:
    figures = f"{asked.wall_ms:>14.1f}{asked.cpu_ms:>16.1f}{asked.page_cpu_ms:>15.0f}"
    print(f"{what:<14}{figures}", file=sys.stderr)


if __name__ == "__main__":
    main()
