"""An ad-hoc run end to end: requested in the browser, measured by `kswatch serve`, shown on its page."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, expect

from kswatch.db.queries import basic as queries
from kswatch.db.queries import compiled_code as queries_code
from kswatch.db.store import Store
from tests.dashboard.browser_rig import running_dashboard, stop, wait_until_drawn

MEASURED_WITHIN_MS = 180_000


@contextmanager
def serving(url: str) -> Iterator[None]:
    """`kswatch serve` on a store, stopped at the end; its output is shown where the test fails."""
    command = [sys.executable, "-m", "kswatch", "serve"]
    environment = os.environ | {"KSWATCH_DATABASE_URL": url}
    with subprocess.Popen(command, env=environment) as server:
        try:
            yield
        finally:
            stop(server, within_s=60)


@pytest.mark.slow
@pytest.mark.browser
def test_a_requested_run_is_measured_and_linked_from_the_queue(desk: Page, own_url: str) -> None:
    with running_dashboard(own_url) as at, serving(own_url):
        desk.goto(f"{at}/ask?pattern=1,48,48,1&batch=64")
        wait_until_drawn(desk)
        desk.get_by_text("Hardware counters").click()
        wait_until_drawn(desk)
        desk.get_by_label("Your name").fill("a test")
        desk.get_by_label("Your name").press("Enter")
        wait_until_drawn(desk)
        desk.get_by_role("button", name="Request this run").click()
        result = desk.get_by_role("link", name="Run 1:")
        expect(result).to_be_visible(timeout=MEASURED_WITHIN_MS)
        result.click()
        desk.wait_for_url("**/runs?*run=1*")
        expect(desk.get_by_text("16 cells", exact=True)).to_be_visible()
    store = Store.open(own_url)
    (asked,) = queries.requests(store)
    assert (asked.state, asked.arguments["counters"]) == ("done", True)
    timed = [row for row in queries.measurements(store, 1) if row.latency_ms]
    refused = queries_code.counters(store, 1, [row.cell_id for row in timed])
    assert {one.implementation for one in refused} == {row.implementation for row in timed}
    assert all(one.value is None and one.reason for one in refused)  # a CPU has none, with the reason
