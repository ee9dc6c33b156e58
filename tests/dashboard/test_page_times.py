from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.benchmarks.page_times import filled, warm_seconds
from tests.dashboard.browser_rig import running_dashboard

MOST_S = 2.0


@pytest.mark.slow
@pytest.mark.browser
def test_every_page_of_100000_measurements_is_drawn_warm_within_two_seconds(
    tmp_path: Path, desk: Page
) -> None:
    with running_dashboard(filled(tmp_path)) as address:
        times = warm_seconds(desk, address)
    assert max(times.values()) < MOST_S, times
