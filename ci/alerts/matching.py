"""Which alert a finding belongs to, and which one a night lets recover; nothing is read or written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from kswatch.ci.alerts.grouping import Group, Key
from kswatch.ci.regression.history import LEVEL_CAUSES, Evidence
from kswatch.ci.regression.onset import out_since
from kswatch.ci.regression.verdicts import SeriesVerdict
from kswatch.db.alerts.lifecycle import LIVE
from kswatch.db.metrics import METRIC_BY_NAME
from kswatch.db.queries.basic import AlertRow

SAME_CAUSE_NIGHTS = 3
"""A finding joins an alert of the same key opened at most so many nights ago: one cause, seen late."""
RECOVERED = 0.01
"""A series is good again when it is within this of its level, which is nearer than what opens an alert."""


def by_alert(evidence: Evidence, found: Group) -> dict[int | None, Group]:
    """The group, divided by the alerts that its series belong to already; None for those of none.

    A series that only its pool shows joins the alert of most of the others, whenever that was opened; so does
    one that was out since then, and is only now sure by itself.
    """
    known = {one.id: one for one in evidence.alerts if takes_part(evidence, one)}
    recent = next((one.id for one in reversed(known.values()) if _same_cause(evidence, one, found)), None)
    own = [_alert_of(evidence, known, found, verdict) for verdict in found.verdicts]
    most = Counter(alert_id for alert_id in own if alert_id is not None).most_common(1)
    parts: dict[int | None, Group] = {}
    for verdict, alert_id in zip(found.verdicts, own, strict=True):
        if alert_id is None:
            alert_id = most[0][0] if most and not verdict.by_itself else recent
        if alert_id is None:
            alert_id = _seen_late(evidence, known, found, verdict)
        parts.setdefault(alert_id, Group(*found.key)).verdicts.append(verdict)
    return parts


def _alert_of(
    evidence: Evidence, known: Mapping[int, AlertRow], found: Group, verdict: SeriesVerdict
) -> int | None:
    """The alert that the series belongs to and that says the same."""
    ids = evidence.members.get((verdict.series.cell_id, verdict.series.metric), set())
    mine = [id_ for id_ in ids if id_ in known and known[id_].cause == found.cause]
    mine = [id_ for id_ in mine if known[id_].verdict == found.verdict or found.cause not in LEVEL_CAUSES]
    return max(mine, default=None)


def _seen_late(
    evidence: Evidence, known: Mapping[int, AlertRow], found: Group, verdict: SeriesVerdict
) -> int | None:
    """A living alert of the same key since whose opening the series has been out, too."""
    alike = [one for one in known.values() if one.state in LIVE and _key_of(one) == found.key]
    return next((one.id for one in reversed(alike) if out_since(evidence, verdict, one.opened_run_id)), None)


def _key_of(one: AlertRow) -> Key:
    return (one.implementation, one.metric, one.verdict, one.cause)


def takes_part(evidence: Evidence, one: AlertRow) -> bool:
    """Whether findings of this run may belong to the alert: it lives, or was ended knowing this run."""
    return one.state in LIVE or one.newest_run_id >= evidence.run.id


def _same_cause(evidence: Evidence, one: AlertRow, found: Group) -> bool:
    if found.cause == "environment":  # every change of it is one of its own
        return one.cause == found.cause and one.opened_run_id == evidence.run.id
    if found.cause == "canary":
        return one.cause == found.cause
    if _key_of(one) != found.key:
        return False
    nights_since = sum(run_id > one.opened_run_id for run_id in evidence.environment_of)
    return nights_since <= SAME_CAUSE_NIGHTS


def is_of_another_environment(evidence: Evidence, one: AlertRow) -> bool:
    """Whether no later night can be held against the alert's level: the environment's segment has ended."""
    began_in = evidence.environment_of.get(one.opened_run_id)
    new_segment = evidence.environment_before is None and began_in != evidence.run.environment_id
    return one.cause in LEVEL_CAUSES | {"drift"} and new_segment


def is_good_night(evidence: Evidence, one: AlertRow, verdicts: Sequence[SeriesVerdict]) -> bool:
    """Whether this run says that the alert's finding is gone; a night that cannot tell is not good."""
    if one.opened_run_id >= evidence.run.id:
        return False
    if one.cause == "incorrect":
        return any(verdict.series.implementation == "fused" for verdict in verdicts)
    if one.cause not in LEVEL_CAUSES | {"drift"}:
        return True
    comparable = evidence.environment_of.get(one.opened_run_id) == evidence.run.environment_id
    if not comparable or evidence.canary_change is not None:
        return False
    members = [
        verdict
        for verdict in verdicts
        if one.id in evidence.members.get((verdict.series.cell_id, verdict.series.metric), ())
    ]
    judged = [verdict for verdict in members if verdict.level is not None and verdict.cause != "throttled"]
    if not judged or any(verdict.verdict == one.verdict for verdict in judged):
        return False
    if one.cause == "drift":
        return True
    return float(np.median([_along(verdict, one.verdict) for verdict in judged])) < RECOVERED


def _along(verdict: SeriesVerdict, word: str) -> float:
    """The change in the direction of the word."""
    worse = -1 if METRIC_BY_NAME[verdict.series.metric].better == "higher" else 1
    return (verdict.change or 0.0) * worse * (1 if word == "slower" else -1)
