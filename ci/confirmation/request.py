"""Asking to measure again at once what a night flagged, in turns with the last good revision.

What the answer does to the alerts is in `kswatch.ci.confirmation.apply`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from kswatch.ci.alerts.explanation import CELLS_LISTED
from kswatch.ci.config import CiConfig
from kswatch.ci.regression.history import LEVEL_CAUSES
from kswatch.db.alerts.lifecycle import DETECTOR, LIVE
from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import AlertRow, RunRow, VerdictRow, alerts, requests, verdicts
from kswatch.db.request_queue.requests import ask
from kswatch.db.store import Store

PRIORITY = 100
"""Before anything else that waits: the machine is still in the night's state."""
KIND: Final = "confirm"


def ask_again(store: Store, run: RunRow, config: CiConfig) -> int | None:
    """Ask once for what a night's provisional alerts are made of; gives the request, None for no need.

    Such a run enters no baseline, since only nightly runs do.
    """
    flagged = [one for one in _provisional(store, run) if run.kind == "nightly" and run.origin != "imported"]
    if not flagged or not config.confirm_minutes or _asked_already(store, run):
        return None
    rows = [row for one in flagged for row in verdicts(store, run.id, alert_id=one.id)]
    problems = list(dict.fromkeys(_problem_text(row) for row in rows))[:CELLS_LISTED]
    implementations = sorted({row.implementation for row in rows if row.metric == "latency_ms"})
    return ask(
        store,
        "ad_hoc",
        run.device_uuid,
        asked_by=DETECTOR,
        why=f"measure again what run {run.id} flagged: alert {', '.join(str(one.id) for one in flagged)}",
        arguments={
            "problem": problems,
            "budget": f"{config.confirm_minutes:g}m",
            "of_run": run.id,
            "flagged": implementations,
            **_revisions(store, run, flagged),
        },
        kind=KIND,
        priority=PRIORITY,
    )


def _provisional(store: Store, run: RunRow) -> list[AlertRow]:
    """Alerts of this run that measuring again may confirm."""
    found = alerts(store, LIVE, run.device_id)
    return [
        one
        for one in found
        if not one.confirmed and one.newest_run_id == run.id and one.cause in LEVEL_CAUSES
    ]


def _revisions(store: Store, run: RunRow, flagged: Sequence[AlertRow]) -> Mapping[str, object]:
    """The commits to measure in turns, or why there are no two: what was not committed is in no worktree."""
    good_run = max((one.explanation.get("last_good_run") or 0 for one in flagged), default=0)
    good = queries.run(store, good_run).revision if good_run else None
    bad = run.revision
    if good is None or bad is None:
        return {"why_alone": "no revision is known of the last good night, or of this one"}
    if good.dirty or bad.dirty:
        return {"why_alone": "one of both nights measured changes that were not committed"}
    if good.commit == bad.commit:
        return {"why_alone": f"both nights are of revision {bad.commit[:12]}"}
    return {"good_revision": good.commit, "bad_revision": bad.commit}


def _asked_already(store: Store, run: RunRow) -> bool:
    return any(
        one.kind == KIND and one.arguments.get("of_run") == run.id for one in requests(store, limit=1000)
    )


def _problem_text(row: VerdictRow) -> str:
    return f"{row.a},{row.b},{row.c},{row.d},{row.batch},{row.precision},{row.layout}"
