"""The sources that stopped reporting: devices, cells, workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from kswatch.dashboard.formatting.labels import age, count
from kswatch.dashboard.night.devices import DeviceNight
from kswatch.dashboard.night.summary import Night
from kswatch.db.coordination.workers import WorkerRow
from kswatch.services import JudgementLimits

COLUMNS = ("kind", "source", "since", "status")


def missing_sources(
    night: Night, workers: Iterable[WorkerRow], limits: JudgementLimits, now: datetime
) -> list[dict[str, str]]:
    """A row by `COLUMNS` for each source that stopped reporting."""
    overdue = [one for one in night.devices if one.is_overdue(limits, now)]
    late = [one for one in night.devices if one not in night.reported and one not in overdue]
    return [
        *(_device(one, "no nightly run", now) for one in overdue),
        *(_device(one, "no run in the newest night", now) for one in late),
        *(row for one in night.devices for row in _cells(one)),
        *(_worker(one, now) for one in workers if one.state(now) == "stale"),
    ]


def _device(one: DeviceNight, status: str, now: datetime) -> dict[str, str]:
    since = f"run {one.newest.id}, {age(one.newest.started_at, now)}"
    return {"kind": "device", "source": one.name, "since": since, "status": status}


def _cells(one: DeviceNight) -> Iterator[dict[str, str]]:
    """Cells with a latency in the run before and none in the newest run."""
    for row in one.missing:
        status = f"{row.status.replace('_', ' ')}{f': {row.reason}' if row.reason else ''}"
        yield {
            "kind": count(row.cells, "cell"),
            "source": f"{row.implementation} on {one.name}",
            "since": f"run {one.newest.id}",
            "status": status,
        }


def _worker(one: WorkerRow, now: datetime) -> dict[str, str]:
    return {
        "kind": one.role,
        "source": one.name,
        "since": age(one.heartbeat_at, now),
        "status": "no heartbeat, not shut down cleanly",
    }
