"""Regressions: lasting changes that alerts reported, by likely cause: size, commits, present state."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pandas as pd

from kswatch.dashboard.components import links, url_state
from kswatch.dashboard.components.filters import BOX_WIDTH, show_empty_store
from kswatch.dashboard.components.panels import choose_row, finding, hint, note
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import (
    cause_label,
    count,
    device_names,
    interval,
    metric_label,
    percent,
)
from kswatch.db.alerts.causes import DETECTED_CAUSES
from kswatch.db.queries.basic import AlertRow, RunRow

DAYS = {"30": "30 days", "90": "90 days", "365": "a year", "all": "all nights"}
CAUSES = (*sorted(DETECTED_CAUSES), "environment", "canary")
"""Causes of a change of level."""
MOST_ALERTS = 500
COMMIT_LENGTH = 12
STATES = {"resolved": "recovered", "accepted": "new level", "muted": "still there (muted)"}
"""What an alert's state means for its change; others are still there."""
COLUMNS = (
    *("since", "verdict", "largest change", "95 % interval", "problems", "implementation", "metric"),
    *("state", "commits", "device", "alert"),
)


def show() -> None:
    """Draw the page."""
    if not cached_queries.run_groups():
        show_empty_store()
        return
    days = url_state.select("Began in the last", "days", list(DAYS), "90", DAYS.__getitem__, width=BOX_WIDTH)
    found = _changes(days)
    lasting = sum(alert.state not in STATES or alert.state == "muted" for alert, _ in found)
    finding(f"{count(len(found), 'lasting change')}, {lasting} still there")
    note("Changes that alerts reported and confirmed; false alarms are left out.")
    hint("`kswatch history` also lists changes of level that no alert reported.")
    devices = cached_queries.devices()
    for cause in CAUSES:
        if of_cause := [pair for pair in found if pair[0].cause == cause]:
            _show_cause(cause, of_cause, device_names(devices))


def _changes(days: str) -> list[tuple[AlertRow, RunRow]]:
    """The confirmed changes that began in these days, each with its first bad run, the newest first."""
    alerts = cached_queries.alerts(limit=MOST_ALERTS)
    kept = [one for one in alerts if one.cause in CAUSES and one.state != "false_alarm" and _is_certain(one)]
    pairs = [
        (one, cached_queries.run(one.explanation.get("first_bad_run") or one.opened_run_id)) for one in kept
    ]
    if days == "all":
        return pairs
    since = datetime.now(UTC) - timedelta(days=int(days))
    return [(one, run) for one, run in pairs if run.started_at >= since]


def _is_certain(alert: AlertRow) -> bool:
    return alert.confirmed or alert.cause not in DETECTED_CAUSES


def _show_cause(cause: str, found: Sequence[tuple[AlertRow, RunRow]], names: dict[int, str]) -> None:
    finding(f"{cause_label(cause)}: {count(len(found), 'change')}")
    table = pd.DataFrame([_row(alert, run, names) for alert, run in found], columns=list(COLUMNS))
    place = choose_row(table, f"regressions {cause}", "to open its alert")
    if place is not None:
        links.go_to("alerts", alert=table.loc[place, "alert"], state="all")


def _row(alert: AlertRow, run: RunRow, names: dict[int, str]) -> dict[str, object]:
    worst: dict[str, float] = next(iter(alert.explanation.get("cells") or ()), {})
    revisions = alert.explanation.get("revisions") or {}
    commits = [str(revisions.get(side) or "unknown")[:COMMIT_LENGTH] for side in ("good", "bad")]
    return {
        "since": f"{run.started_at:%Y-%m-%d}",
        "verdict": alert.verdict,
        "largest change": percent(alert.worst_change),
        "95 % interval": interval(worst.get("change_low"), worst.get("change_high")),
        "problems": alert.explanation.get("problems"),
        "implementation": alert.implementation,
        "metric": metric_label(alert.metric),
        "state": STATES.get(alert.state, "still there"),
        "commits": "..".join(commits),
        "device": names.get(alert.device_id, str(alert.device_id)),
        "alert": alert.id,
    }
