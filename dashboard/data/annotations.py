"""What happened between runs and may explain a step: new revisions, environments, notes, alerts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from kswatch.dashboard.charts.trend import Mark
from kswatch.dashboard.data import queries as cached_queries
from kswatch.db.queries.basic import RunRow


def of_runs(runs: Sequence[RunRow], device_id: int) -> list[Mark]:
    """Marks for a trend over these runs, the oldest first."""
    found = [mark for before, after in pairwise(runs) for mark in _between(before, after)]
    at = {run.id: run.started_at for run in runs}
    for alert in cached_queries.alerts(device_id=device_id):
        if alert.opened_run_id in at:
            found.append(Mark(at[alert.opened_run_id], "alert", f"alert {alert.id}: {alert.title}"))
    for event in cached_queries.run_events():
        if event.run_id in at:
            found.append(Mark(at[event.run_id], "note", f"{event.action} by {event.who}: {event.text}"))
    return found


def _between(before: RunRow, after: RunRow) -> list[Mark]:
    marks = []
    if before.environment_id != after.environment_id:
        changed = cached_queries.environment_changes(before.id, after.id)
        text = "; ".join(f"{change.name} {change.before} → {change.after}" for change in changed)
        marks.append(Mark(after.started_at, "environment", text))
    if after.revision and before.revision != after.revision:
        subject = after.revision.subject or ""
        dirty = " (dirty)" if after.revision.dirty else ""
        marks.append(Mark(after.started_at, "revision", f"{after.revision.commit[:9]}{dirty} {subject}"))
    return marks
