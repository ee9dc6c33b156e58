"""Missing data: devices without nightly runs, cells without a latency, workers without a heartbeat."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pandas as pd

from kswatch.dashboard.components.panels import finding, note, show_table
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.device_runs import DeviceRuns
from kswatch.dashboard.data.server_settings import judgement_limits
from kswatch.dashboard.data.store import reading_store
from kswatch.dashboard.formatting.labels import age, count
from kswatch.db.queries import basic as queries


def show_missing_data(devices: Sequence[DeviceRuns]) -> None:
    """Draw the sources that stopped reporting, or that there are none."""
    now, limits = datetime.now(UTC), judgement_limits()
    rows = [
        {"kind": "device", "source": shown.name, "since": _since(shown, now), "status": "no nightly run"}
        for shown in devices
        if shown.is_overdue(limits, now)
    ]
    rows += [row for shown in devices for row in _cells(shown)] + _workers(now)
    if not rows:
        note("All devices, cells and workers are reporting.")
        return
    finding(f"{count(len(rows), 'source')} stopped reporting")
    show_table(pd.DataFrame(rows))


def _since(shown: DeviceRuns, now: datetime) -> str:
    return f"run {shown.newest.id}, {age(shown.newest.started_at, now)}"


def _cells(shown: DeviceRuns) -> list[dict[str, str]]:
    """Cells with a latency in the run before and none in the newest run."""
    if len(shown.runs) < 2:
        return []
    found = cached_queries.missing_cells(shown.runs[-2].id, shown.newest.id)
    return [
        {
            "kind": count(row.cells, "cell"),
            "source": f"{row.implementation} on {shown.name}",
            "since": f"run {shown.newest.id}",
            "status": f"{row.status.replace('_', ' ')}{f': {row.reason}' if row.reason else ''}",
        }
        for row in found.itertuples()
    ]


def _workers(now: datetime) -> list[dict[str, str]]:
    return [
        {
            "kind": worker.role,
            "source": worker.name,
            "since": age(worker.heartbeat_at, now),
            "status": "no heartbeat, not shut down cleanly",
        }
        for worker in queries.workers(reading_store())
        if worker.state(now) == "stale"
    ]
