"""What should speak and does not: devices without nights, cells without numbers, workers without a sign."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pandas as pd

from kswatch.dashboard.components.panels import finding, note, show_table
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.device_runs import DeviceRuns
from kswatch.dashboard.data.store import reading_store
from kswatch.dashboard.formatting.labels import age, count
from kswatch.db.queries import basic as queries


def show_silence(devices: Sequence[DeviceRuns]) -> None:
    """Draw what is silent, or say that nothing is."""
    now = datetime.now(UTC)
    rows = [
        {"what": "device", "which": shown.name, "since": _since(shown, now), "instead": "no nightly run"}
        for shown in devices
        if shown.is_silent(now)
    ]
    rows += [row for shown in devices for row in _cells(shown)] + _workers(now)
    if not rows:
        note("Nothing is silent: every device, cell and worker that spoke before still does.")
        return
    finding(f"{count(len(rows), 'thing')} that spoke before {'is' if len(rows) == 1 else 'are'} silent")
    show_table(pd.DataFrame(rows))


def _since(shown: DeviceRuns, now: datetime) -> str:
    return f"run {shown.newest.id}, {age(shown.newest.started_at, now)}"


def _cells(shown: DeviceRuns) -> list[dict[str, str]]:
    """Cells of the run before that give no number in the newest one."""
    if len(shown.runs) < 2:
        return []
    found = cached_queries.silent_cells(shown.runs[-2].id, shown.newest.id)
    return [
        {
            "what": count(row.cells, "cell"),
            "which": f"{row.implementation} on {shown.name}",
            "since": f"run {shown.newest.id}",
            "instead": f"{row.status.replace('_', ' ')}{f': {row.reason}' if row.reason else ''}",
        }
        for row in found.itertuples()
    ]


def _workers(now: datetime) -> list[dict[str, str]]:
    return [
        {
            "what": worker.role,
            "which": worker.name,
            "since": age(worker.heartbeat_at, now),
            "instead": "no sign of life and no goodbye",
        }
        for worker in queries.workers(reading_store())
        if worker.state(now) == "silent"
    ]
