"""`kswatch` as a coordinator that pauses once at a moment of its night, for a test to disturb it there.

`python -m tests.robustness.pausing_coordinator MOMENT COMMAND...`: at that moment it writes the file `paused`
in its working directory, and goes on when `continue` is there. Every problem that it records is a line of the
file `recorded`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kswatch.db.request_queue import requests
from kswatch.db.store import Store
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.executors.base import MeasureTask
from kswatch.profiler.executors.dask_cluster import DaskCluster
from kswatch.profiler.planning import suites
from kswatch.profiler.planning.suites import Suite

PATTERNS = (Pattern(6, 64, 64, 1), Pattern(1, 128, 128, 3), Pattern(4, 64, 64, 4), Pattern(2, 96, 96, 4))
SUITE = Suite(
    "chaos",
    "four problems by two implementations",
    lambda: tuple(Problem(pattern, 1024, "fp32", "batch_last") for pattern in PATTERNS),
    implementations=("fused", "bmm"),
)
MOMENTS = ("before the claim", "after the claim", "while measuring", "before recording", "before finishing")
MIDDLE = 2
"""The problem of the two moments in the middle of a run, counted from 1."""


def _pause() -> None:
    """Wait once for the test, however many processes there are."""
    try:
        Path("paused").touch(exist_ok=False)
    except FileExistsError:
        return
    while not Path("continue").exists():
        time.sleep(0.02)


def _pausing(function: Callable[..., Any], moment: str, at: str) -> Callable[..., Any]:
    """The function with a pause before or after it, where the moment is this one."""

    def paused(*arguments: Any, **options: Any) -> Any:
        if moment == f"before {at}":
            _pause()
        result = function(*arguments, **options)
        if moment == f"after {at}":
            _pause()
        return result

    return paused


def _pause_at(moment: str) -> None:
    requests.take = _pausing(requests.take, moment, "the claim")
    submit, record, finish = DaskCluster.submit, Store.record_problem, Store.finish_run
    measured = recorded = 0

    def submitting(cluster: DaskCluster, uuid: str, function: Any, *arguments: Any) -> Any:
        nonlocal measured
        measured += isinstance(arguments[0], MeasureTask)
        if moment == "while measuring" and measured == MIDDLE:
            _pause()
        return submit(cluster, uuid, function, *arguments)

    def recording(store: Store, run_id: int, records: Any, *times: Any) -> None:
        nonlocal recorded
        recorded += 1
        if moment == "before recording" and recorded == MIDDLE:
            _pause()
        record(store, run_id, records, *times)
        with Path("recorded").open("a") as lines:
            print(run_id, records[0].problem, file=lines)

    def finishing(store: Store, run_id: int, state: str = "finished", *times: Any) -> None:
        if moment == "before finishing" and state == "finished":
            _pause()
        finish(store, run_id, state, *times)

    DaskCluster.submit, Store.record_problem, Store.finish_run = submitting, recording, finishing


if __name__ == "__main__":
    suites.SUITES = (*suites.SUITES, SUITE)
    _pause_at(sys.argv.pop(1))
    from kswatch.cli import main

    main()
