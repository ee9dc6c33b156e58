"""Load times of pages in a real browser on a year of simulated nights, beside Streamlit's hello page.

    python -m tests.benchmarks.page_times                       # 1,027,840 measurements, created first
    python -m tests.benchmarks.page_times --store sqlite:///years.db --rounds 5 --json

First load: a browser with an empty cache opens a page. Navigation: from the click on the menu, in an open
session, until the script has ended and all charts are drawn. Both are medians. A page's
payload is the data of its first visit over the websocket (before compression) and by HTTP, Streamlit's own
static files left out. A warm visit opens a page in a browser that has opened it before: what it transfers is
everything that does not come from the browser's cache. Queries: see query_times.py. Sessions: see
many_sessions.py.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from playwright.sync_api import Browser, BrowserContext, Page, Response, WebSocket

from kswatch.dashboard.cli import SETTINGS
from kswatch.dashboard.navigation import PAGES, PageEntry
from kswatch.db.store import Store
from tests.benchmarks.many_sessions import act_seconds
from tests.benchmarks.query_times import page_asks
from tests.benchmarks.simulated_years import Years, fill_years
from tests.dashboard.browser_rig import (
    chromium_or_reason,
    free_port,
    launched_browser,
    open_from_menu,
    running_dashboard,
    wait_until_drawn,
    wait_until_healthy,
)
from tests.dashboard.simulated_store import Plan, fill

FULL = Plan(nights=26, patterns=60, samples=8)
"""2 devices × 26 nights × 240 problems × 8 implementations: 99,840 measurements."""

DESK = {"width": 1280, "height": 900}
KILO = 1_000


@dataclass(frozen=True)
class PageFigures:
    """One page; seconds are medians."""

    page: str
    first_load_s: float
    navigation_s: float
    payload_kb: float
    warm_kb: float
    queries_ms: float


def filled(folder: Path, plan: Plan = FULL) -> str:
    """The URL of a new store with the plan's nights."""
    url = f"sqlite:///{folder / 'kswatch.db'}"
    store = Store.open(url)
    fill(store, plan)
    store.close()
    return url


def warm_seconds(page: Page, address: str, rounds: int = 3) -> dict[str, float]:
    """Seconds per page, by its title, after every page was visited once: the least of several rounds.

    Other work on the machine is taken out: each visit is divided by the `stretch` before and after it.
    """
    page.goto(address)
    for entry in PAGES:
        _visit(page, entry)
    times: dict[str, list[float]] = {entry.title: [] for entry in PAGES}
    for _ in range(rounds):
        for entry in PAGES:
            before = stretch()
            seconds = _visit(page, entry)
            times[entry.title].append(2 * seconds / (before + stretch()))
    return {title: min(own) for title, own in times.items()}


def stretch(cpu_s: float = 0.1) -> float:
    """By how much other work on the machine stretches a computation now: 1 where there is none.

    Args:
        cpu_s: seconds of CPU time that the computation takes.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    while time.process_time() - cpu < cpu_s:
        pass
    return max(1.0, (time.perf_counter() - wall) / (time.process_time() - cpu))


def _visit(page: Page, entry: PageEntry) -> float:
    started = time.perf_counter()
    open_from_menu(page, entry)
    return time.perf_counter() - started


@contextmanager
def running_hello() -> Iterator[str]:
    """Streamlit's own demonstration; gives its address."""
    port = free_port()
    settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
    where = [f"--server.port={port}", "--server.address=127.0.0.1"]
    command = [sys.executable, "-m", "streamlit", "hello", *settings, *where]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            wait_until_healthy(process, f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def first_load(browser: Browser, address: str) -> float:
    """Seconds until a page is drawn in a browser with an empty cache."""
    context = browser.new_context(viewport=DESK)  # type: ignore[arg-type]
    page = context.new_page()
    started = time.perf_counter()
    page.goto(address)
    wait_until_drawn(page)
    seconds = time.perf_counter() - started
    context.close()
    return seconds


def warm_visit(browser: Browser, address: str) -> int:
    """Bytes that a page transfers in a browser that has opened it before."""
    context = browser.new_context(viewport=DESK)  # type: ignore[arg-type]
    for _ in range(2):
        page = context.new_page()
        counted = _Transferred(context, page)
        page.goto(address)
        wait_until_drawn(page)
        page.close()
    context.close()
    return counted.received


class _Transferred:
    """Bytes that a page receives over the network, headers and all; websocket frames before compression."""

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self.received = 0
        network = context.new_cdp_session(page)
        network.on("Network.loadingFinished", lambda event: self._add(event["encodedDataLength"]))
        network.send("Network.enable")
        page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: self._add(len(frame)))

    def _add(self, size: float) -> None:
        self.received += int(size)


def hello_navigation(page: Page) -> float:
    """Seconds from another page of the demonstration back to its first one."""
    page.get_by_role("link", name="DataFrame demo").first.click()
    page.wait_for_url("**/dataframe_demo*")
    wait_until_drawn(page)
    started = time.perf_counter()
    page.get_by_role("link", name="Hello", exact=True).first.click()
    page.get_by_role("heading", name="Welcome to Streamlit!").wait_for()
    wait_until_drawn(page)
    return time.perf_counter() - started


class Payload:
    """Bytes received by a page, without Streamlit's own static files."""

    def __init__(self, page: Page) -> None:
        self.received = 0
        page.on("websocket", self._listen)
        page.on("response", self._count)

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: self._add(len(frame)))

    def _count(self, response: Response) -> None:
        if "/static/" not in response.url:
            self._add(int(response.headers.get("content-length", 0)))

    def _add(self, size: int) -> None:
        self.received += size

    def take(self) -> int:
        """The bytes since the last call."""
        received, self.received = self.received, 0
        return received


def visits(
    browser: Browser, address: str, pages: Sequence[PageEntry], rounds: int
) -> dict[str, tuple[float, int]]:
    """Per page: median seconds of navigation inside a session, and the bytes of its first visit."""
    context = browser.new_context(viewport=DESK)  # type: ignore[arg-type]
    page = context.new_page()
    payload = Payload(page)
    page.goto(f"{address}/ask")
    wait_until_drawn(page)
    payload.take()
    times: dict[str, list[float]] = {entry.path: [] for entry in pages}
    sizes: dict[str, int] = {}
    for _ in range(rounds):
        for entry in pages:
            times[entry.path].append(_visit(page, entry))
            sizes.setdefault(entry.path, payload.take())
            payload.take()
    context.close()
    return {path: (statistics.median(own), sizes[path]) for path, own in times.items()}


@dataclass(frozen=True)
class Crowd:
    """Response times with many sessions at once, and the memory of the server."""

    sessions: int
    act_median_s: float
    act_max_s: float
    act_cpu_ms: float
    """CPU time of the server per act, which a busy machine does not stretch."""
    server_memory_mb: float


def browse(url: str, executable: str, pages: Sequence[PageEntry], rounds: int) -> Iterator[PageFigures]:
    """The figures of the hello page, then of every page."""
    queries = {entry.path: _queries_ms(url, entry.path) for entry in pages}
    with running_hello() as hello, running_dashboard(url) as at, launched_browser(executable) as browser:
        first_load(browser, hello), first_load(browser, at)  # one-time loads of the servers
        yield _hello(browser, hello, rounds)
        visited = visits(browser, at, pages, rounds)
        for entry in pages:
            own = f"{at}/{'' if entry is PAGES[0] else entry.path}"
            load = statistics.median(first_load(browser, own) for _ in range(rounds))
            seconds, size = visited[entry.path]
            warm = warm_visit(browser, own)
            yield PageFigures(entry.path, load, seconds, size / KILO, warm / KILO, queries[entry.path])


def _hello(browser: Browser, address: str, rounds: int) -> PageFigures:
    loads = [first_load(browser, address) for _ in range(rounds)]
    page = browser.new_page(viewport=DESK)  # type: ignore[arg-type]
    page.goto(address)
    wait_until_drawn(page)
    turns = [hello_navigation(page) for _ in range(rounds)]
    page.close()
    warm = warm_visit(browser, address) / KILO
    return PageFigures("hello", statistics.median(loads), statistics.median(turns), 0.0, warm, 0.0)


def crowd(url: str, sessions: int) -> Crowd:
    """Many sessions on a server of their own, without a browser competing for the processors."""
    with running_dashboard(url) as at:
        server = _server(at)
        paths = [entry.path for entry in PAGES if entry is not PAGES[0]]
        acts, spent_s = act_seconds(at, paths, sessions, clock=lambda: sum(server.cpu_times()[:2]))
        return Crowd(
            sessions=sessions,
            act_median_s=statistics.median(acts),
            act_max_s=max(acts),
            act_cpu_ms=1e3 * spent_s / len(acts),
            server_memory_mb=server.memory_info().rss / 1e6,
        )


def _queries_ms(url: str, path: str) -> float:
    os.environ["KSWATCH_DATABASE_URL"] = url
    return min(page_asks(path).wall_ms for _ in range(3))


def _server(address: str) -> psutil.Process:
    """The process that listens at the address."""
    port = int(address.rsplit(":", 1)[1])
    for process in psutil.Process().children(recursive=True):
        if any(link.laddr.port == port for link in process.net_connections() if link.status == "LISTEN"):
            return process
    raise RuntimeError(f"no process listens on {address}")


def _table(rows: list[PageFigures], rest: Crowd) -> str:
    hello = rows[0]
    lines = [f"{'page':<12}{'first load':>11}{'over hello':>11}{'navigation':>11}{'over hello':>11}"]
    lines[0] += f"{'payload':>10}{'warm visit':>12}{'queries':>10}"
    for row in rows:
        over = (row.first_load_s - hello.first_load_s, row.navigation_s - hello.navigation_s)
        lines.append(
            f"{row.page:<12}{row.first_load_s:>9.2f} s{over[0]:>+9.2f} s{row.navigation_s:>9.2f} s"
            f"{over[1]:>+9.2f} s{row.payload_kb:>7.0f} kB{row.warm_kb:>9.0f} kB{row.queries_ms:>7.0f} ms"
        )
    lines.append(
        f"{rest.sessions} sessions, one act each every 10 s: median {rest.act_median_s:.2f} s, maximum "
        f"{rest.act_max_s:.2f} s, {rest.act_cpu_ms:.0f} ms of CPU an act; the server then holds "
        f"{rest.server_memory_mb:.0f} MB"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time every page in a real browser beside hello's.")
    parser.add_argument("--store", help="URL of a filled store; created by default")
    parser.add_argument("--patterns", type=int, default=22, help="of the created store")
    parser.add_argument("--pages", help="only these, separated by commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    wanted = given.pages.split(",") if given.pages else [entry.path for entry in PAGES]
    pages = [entry for entry in PAGES if entry.path in wanted]
    logging.disable(logging.WARNING)  # Streamlit's, outside of a server
    executable, reason = chromium_or_reason()
    if executable is None:
        raise SystemExit(reason)
    with tempfile.TemporaryDirectory() as temporary:
        url = given.store or f"sqlite:///{temporary}/kswatch.db"
        if not given.store:
            fill_years(url, Years(patterns=given.patterns))
        rows = []
        for row in browse(url, executable, pages, given.rounds):
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
        rest = crowd(url, given.sessions)
    if given.json:
        print(json.dumps({"pages": [asdict(row) for row in rows], **asdict(rest)}))
    else:
        print(_table(rows, rest))


if __name__ == "__main__":
    main()
