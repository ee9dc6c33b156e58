"""How long each page takes in a real browser, warm, on a store of simulated nights.

    python tests/dashboard/page_times.py            # 100,000 measurements

A page is warm when it has been seen before in the session and its answers are remembered; the time
runs from the click on the menu until its script has ended and its charts are drawn.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from browsing import chromium_or_reason, launched_browser, open_from_menu, running_dashboard
from playwright.sync_api import Page
from simulated_store import Plan, fill

from dashboard.page_list import PAGES, PageEntry
from db.store import Store

FULL = Plan(nights=26, patterns=60, samples=8)
"""2 devices × 26 nights × 240 problems × 8 implementations: 99,840 measurements."""


def filled(folder: Path, plan: Plan = FULL) -> str:
    """The URL of a new store with the plan's nights."""
    url = f"sqlite:///{folder / 'kswatch.db'}"
    store = Store.open(url)
    fill(store, plan)
    store.close()
    return url


def warm_seconds(page: Page, address: str) -> dict[str, float]:
    """Seconds per page, by its title, after every page has been seen once."""
    page.goto(address)
    for entry in PAGES:
        _visit(page, entry)
    return {entry.title: _visit(page, entry) for entry in PAGES}


def _visit(page: Page, entry: PageEntry) -> float:
    started = time.perf_counter()
    open_from_menu(page, entry)
    return time.perf_counter() - started


def main() -> None:
    argparse.ArgumentParser(description="Time every page, warm, in a real browser.").parse_args()
    executable, reason = chromium_or_reason()
    if executable is None:
        raise SystemExit(reason)
    with tempfile.TemporaryDirectory() as temporary:
        url = filled(Path(temporary))
        with running_dashboard(url) as address, launched_browser(executable) as browser:
            times = warm_seconds(browser.new_page(viewport={"width": 1280, "height": 900}), address)
    for title, seconds in times.items():
        print(f"{title:<16}{seconds:6.2f} s")


if __name__ == "__main__":
    main()
