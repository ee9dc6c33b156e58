"""Events between runs that may explain a change: new revisions, environments, notes, alerts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from kswatch.dashboard.charts.trend import Annotation
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import change_list, revision_label
from kswatch.db.queries.basic import RunRow


def annotations_of(runs: Sequence[RunRow], device_id: int) -> list[Annotation]:
    """Annotations of a trend over these runs."""
    found = [event for before, after in pairwise(runs) for event in _between(before, after)]
    at = {run.id: run.started_at for run in runs}
    for alert in cached_queries.alerts(device_id=device_id):
        if alert.opened_run_id in at:
            found.append(Annotation(at[alert.opened_run_id], "alert", f"alert {alert.id}: {alert.title}"))
    for event in cached_queries.run_events():
        if event.run_id in at:
            found.append(Annotation(at[event.run_id], "note", f"{event.action} by {event.who}: {event.text}"))
    return found


def _between(before: RunRow, after: RunRow) -> list[Annotation]:
    found = []
    if before.environment_id != after.environment_id:
        changed = cached_queries.environment_changes(before.id, after.id)
        found.append(Annotation(after.started_at, "environment", change_list(changed)))
    if after.revision and before.revision != after.revision:
        found.append(Annotation(after.started_at, "revision", revision_label(after.revision) or ""))
    return found
