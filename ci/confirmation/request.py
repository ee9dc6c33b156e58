"""Confirmation requests: measuring again, at once, the cells that a night flagged.

The result is applied to the alerts by `kswatch.ci.confirmation.apply`.
"""

from __future__ import annotations

from collections.abc import Sequence

from kswatch.ci.alerts.explanation import CELLS_LISTED
from kswatch.ci.config import CiConfig
from kswatch.db.alerts.causes import LEVEL_CAUSES
from kswatch.db.alerts.lifecycle import DETECTOR, LIVE
from kswatch.db.backend.mapping import record_of
from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import AlertRow, RunRow, alerts, requests, verdicts
from kswatch.db.records import CONFIRM, FACTOR, ProblemKey, is_foreign
from kswatch.db.request_queue.confirmation import ConfirmationRequest
from kswatch.db.request_queue.requests import submit
from kswatch.db.store import Store

PRIORITY = 100
"""Ahead of all other requests, while the machine is still in the night's state."""


def request_confirmation(store: Store, run: RunRow, config: CiConfig) -> int | None:
    """Queue a confirmation of a night's provisional alerts once; the request's id, None where none is needed.

    The confirming runs enter no baseline, since only nightly runs do.
    """
    if run.kind != "nightly" or run.origin == "imported" or not config.confirm_minutes:
        return None
    flagged = [
        one
        for one in alerts(store, LIVE, run.device_id)
        if not one.confirmed and one.newest_run_id == run.id and one.cause in LEVEL_CAUSES
    ]
    if not flagged:
        return None
    known = (one for one in requests(store, limit=1000) if one.kind == CONFIRM)
    if any(one.arguments.get("of_run") == run.id for one in known):
        return None
    found = [row for one in flagged for row in verdicts(store, run.id, alert_id=one.id)]
    rows = [row for row in found if row.subject == FACTOR and not is_foreign(row.implementation)]
    if not rows:  # of layers, models and foreign code no two revisions are interleaved: alerts must persist
        return None
    problems = (record_of(ProblemKey, row) for row in rows)
    good, bad, why_alone = _revisions(store, run, flagged)
    confirmation = ConfirmationRequest(
        of_run=run.id,
        problem=tuple(dict.fromkeys(problems))[:CELLS_LISTED],
        flagged=tuple(sorted({row.implementation for row in rows if row.metric == "latency_ms"})),
        budget=f"{config.confirm_minutes:g}m",
        good_revision=good,
        bad_revision=bad,
        why_alone=why_alone,
    )
    return submit(
        store,
        "ad_hoc",
        run.device_uuid,
        asked_by=DETECTOR,
        why=f"confirm run {run.id}: alert {', '.join(str(one.id) for one in flagged)}",
        arguments=confirmation.as_arguments(),
        kind=CONFIRM,
        priority=PRIORITY,
    )


def _revisions(
    store: Store, run: RunRow, flagged: Sequence[AlertRow]
) -> tuple[str | None, str | None, str | None]:
    """The good and the bad commit, or the reason why there are no two.

    Uncommitted changes exclude a comparison, since no commit has them.
    """
    good_run = max((one.explanation.get("last_good_run") or 0 for one in flagged), default=0)
    good = queries.run(store, good_run).revision if good_run else None
    bad = run.revision
    if good is None or bad is None:
        return None, None, "the revision of the last good night, or of this one, is unknown"
    if good.dirty or bad.dirty:
        return None, None, "one of the two nights measured uncommitted changes"
    if good.commit == bad.commit:
        return None, None, f"both nights measured revision {bad.commit[:12]}"
    return good.commit, bad.commit, None
