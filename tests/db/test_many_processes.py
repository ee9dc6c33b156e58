from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from kswatch.db.maintenance.stats_and_prune import faults
from kswatch.db.queries import basic as queries
from kswatch.db.records import IMPLEMENTATIONS
from kswatch.db.store import Store
from tests.db.sample_records import stored_tails

ROOT = Path(__file__).parents[2]


def start_writer(url: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.db.writer", url, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("problems", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_run_leaves_complete_problems_and_can_be_resumed(url, problems):
    writer = start_writer(url)
    for line in writer.stdout:
        if int(line) >= problems:
            break
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()

    store = Store.open(url)
    assert faults(store) == []
    run_id = store.resumable_run()
    cells = Counter(key for key, _ in store.done_cells(run_id))
    assert len(cells) >= problems
    assert set(cells.values()) == {len(IMPLEMENTATIONS)}
    assert len(queries.comparisons(store, run_id)) == len(cells)
    store.close()


def test_two_writers_wait_for_each_other_and_lose_nothing(url):
    writers = [start_writer(url, "15") for _ in range(2)]
    store = Store.open(url)
    while any(writer.poll() is None for writer in writers):
        queries.runs(store)  # a reader beside them is not in their way
    assert [writer.returncode for writer in writers] == [0, 0]
    for writer in writers:
        writer.stdout.close()
    assert [run.by_status for run in queries.runs(store)] == [{"ok": 15 * len(IMPLEMENTATIONS)}] * 2
    assert {len(points) for points in stored_tails(store).values()} == {2}
    store.close()


def test_processes_opening_a_new_store_concurrently_find_it_migrated(empty_url):
    writers = [start_writer(empty_url, "1") for _ in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    for writer in writers:
        writer.stdout.close()
