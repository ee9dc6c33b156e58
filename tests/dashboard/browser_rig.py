"""A real dashboard on loopback and a real Chromium to look at it; both bounded and ended by their user."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from streamlit.testing.v1 import AppTest

from kswatch.dashboard.cli import streamlit_arguments
from kswatch.dashboard.data.server_settings import AGENT_API, FORWARDED_ALLOW_IPS
from kswatch.dashboard.navigation import DEFECT, PAGES, PageEntry

ROOT = Path(__file__).parents[2]
START_WITHIN_S = 240.0
DRAWN_WITHIN_S = 120
DRAWN_WITHIN_MS = 1_000 * DRAWN_WITHIN_S
ANSWER_WITHIN_S = 120.0
"""These limits end a test that hangs; on a busy machine each of them may take tens of seconds."""
OF_EMPTY_PAGES = {
    "ask": "kswatch serve",
    "changes": "kswatch gate",
    "layers": "kswatch profile layers",
    "models": "kswatch profile models",
}
"""Commands that pages of an empty store name, where it is not the one that measures a night."""
FAILURES = f"[data-testid=stException], .st-key-{DEFECT}"
"""What a page shows instead of a part that failed unexpectedly."""
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium_or_reason() -> tuple[str | None, str]:
    """Where a Chromium is, or None and why there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found, ""
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    if Path(own).exists():
        return own, ""
    return None, "no Chromium: tests/dashboard/get-chromium.sh brings one"


def free_port() -> int:
    """A free port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_dashboard(
    url: str, port: int | None = None, log: Path | None = None, **settings: str
) -> Iterator[str]:
    """The dashboard on a store, as `kswatch dashboard` starts it; gives its address.

    Args:
        url: of the store.
        port: to listen on; any free one where None.
        log: a file for what the server writes to stderr.
        settings: more of the environment.
    """
    port = port or free_port()
    own = {"KSWATCH_DATABASE_URL": url, "PYTHONPATH": str(ROOT), FORWARDED_ALLOW_IPS: ""}
    environment = os.environ | own | settings
    address = f"http://127.0.0.1:{port}"
    with log.open("w+b") if log else tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            streamlit_arguments(port, agent_api=settings.get(AGENT_API) == "1"),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        try:
            wait_until_healthy(process, address, errors)
            yield address
        finally:
            stop(process, within_s=10)


def stop(process: subprocess.Popen[bytes], within_s: float) -> None:
    """End a process by SIGTERM; kill it where it does not end in time."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(within_s)


def wait_until_healthy(
    process: subprocess.Popen[bytes], address: str, errors: IO[bytes] | None = None
) -> None:
    """Wait until the server answers; raises with its output, of file or pipe, where it has ended instead."""
    ends = time.monotonic() + START_WITHIN_S
    while time.monotonic() < ends:
        if process.poll() is not None:
            written = errors or process.stderr
            assert written is not None
            if written is errors:
                written.seek(0)
            raise RuntimeError(f"the dashboard ended: {written.read().decode()}")
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2):
                return
        except HTTPError as answer:
            if answer.code == 401:  # it answers, and requires sign-in
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the dashboard did not answer within {START_WITHIN_S:.0f} s")


@contextmanager
def launched_browser(executable: str) -> Iterator[Browser]:
    """One headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def patient_page(context: Browser | BrowserContext) -> Page:
    """A new page whose steps may take as long as drawing it."""
    page = context.new_page()
    page.set_default_timeout(DRAWN_WITHIN_MS)
    return page


def wait_until_drawn(page: Page) -> None:
    """Wait until the page's script has ended and every chart on it has been drawn."""
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=DRAWN_WITHIN_MS)
    page.wait_for_function(
        "() => [...document.querySelectorAll('[data-testid=stPlotlyChart]')]"
        ".every(chart => chart.querySelector('.main-svg'))"
        " && !document.querySelector('[data-testid=stSkeleton]')",
        timeout=DRAWN_WITHIN_MS,
    )


def page_script(first: str) -> None:
    """What `AppTest` runs to draw one page without a browser."""
    from kswatch.dashboard.navigation import navigation

    navigation(first).run()


def html_of(page: AppTest) -> str:
    """The HTML that a page draws, without its style."""
    parts = (str(one.proto.body) for one in page.get("html"))
    return "\n".join(part for part in parts if not part.startswith("<style>"))


def open_from_menu(page: Page, entry: PageEntry) -> None:
    """Click a page's name in the menu and wait until that page has been drawn."""
    wait_until_drawn(page)
    path = "" if entry is PAGES[0] else entry.path
    page.get_by_role("link", name=PAGES[0].title, exact=True).first.wait_for()
    link = page.get_by_role("link", name=entry.title, exact=True).first
    if not link.is_visible():  # the last pages of a menu that is wider than the window
        page.locator("header").get_by_text(re.compile(r"^\d+ more$")).click()
        link = page.get_by_role("menuitem", name=entry.title, exact=True)
    link.click()
    # the address changes when the server begins to run the page: what is drawn is no longer the last one
    page.wait_for_url(re.compile(rf"^https?://[^/]+/{path}(\?.*)?$"))
    wait_until_drawn(page)
