"""kill -9 in the middle of a real run: nothing lost, nothing repeated, no process left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from kswatch.db.queries import basic as queries
from kswatch.db.store import Store
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.runs.session import RunContext, resume

ROOT = Path(__file__).parents[3]
PATTERNS = ["2,8,8,2", "1,16,16,4"]
RUN = f"""
import sys
from kswatch.db.store import Store
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.runs.session import RunContext, run_suite

filters = {{"pattern": {PATTERNS}, "batch": [64], "implementation": ["fused", "bmm"]}}
context = RunContext(ProfilerConfig(cell_cap_ms=150))
run_suite(Store.open(sys.argv[1]), "ad_hoc", filters=filters, context=context)
"""
CELLS = len(PATTERNS) * 2 * 2


def wait_for_cells(store: Store, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(queries.measurements(store, 1)) < count:
        assert time.monotonic() < deadline, "the run recorded nothing"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_killed_run_is_resumed_without_repeating_or_losing_a_cell(tmp_path):
    url = f"sqlite:///{tmp_path / 'kswatch.db'}"
    store = Store.open(url)
    process = subprocess.Popen([sys.executable, "-c", RUN, url], cwd=ROOT)
    wait_for_cells(store, 2)
    children = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = queries.measurements(store, 1)
    assert 2 <= len(before) < CELLS
    assert queries.run(store, 1).state == "running"

    context = RunContext(ProfilerConfig(cell_cap_ms=50))
    result = resume(store, context=context)
    after = queries.measurements(store, 1)
    store.close()
    assert (result.run, result.state, result.cells) == (1, "finished", CELLS)
    assert len({row.cell_id for row in after}) == len(after) == CELLS
    assert set(before) <= set(after)
    assert children and not any(child.is_running() for child in children)
