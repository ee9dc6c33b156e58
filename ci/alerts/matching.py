"""Matching of findings to alerts, and recovery of alerts, as pure functions of the judging inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from kswatch.ci.alerts.grouping import GroupKey, VerdictGroup
from kswatch.ci.regression.history import JudgingInputs
from kswatch.ci.regression.onset import deviating_since
from kswatch.ci.regression.verdicts import SeriesVerdict
from kswatch.db.alerts.causes import DETECTED_CAUSES, LEVEL_CAUSES
from kswatch.db.alerts.lifecycle import LIVE
from kswatch.db.metrics import METRIC_BY_NAME
from kswatch.db.queries.basic import AlertRow

SAME_CAUSE_NIGHTS = 3
"""Nights within which a finding joins an alert of the same key: one cause, detected late in some series."""
RECOVERED = 0.01
"""Change from the level below which a series has recovered; smaller than any change that opens an alert."""


def split_by_alert(inputs: JudgingInputs, group: VerdictGroup) -> dict[int | None, VerdictGroup]:
    """The group divided by the alerts that its series already belong to; None for a new alert.

    A series that only its pool shows joins the alert of most of the others, whenever that was opened; so does
    one that has deviated since then, but is significant only now.
    """
    known = {alert.id: alert for alert in inputs.alerts if accepts_findings(inputs, alert)}
    recent = next((id_ for id_, alert in reversed(known.items()) if _same_cause(inputs, alert, group)), None)
    own = [_alert_of(inputs, known, group, verdict) for verdict in group.verdicts]
    most = Counter(alert_id for alert_id in own if alert_id is not None).most_common(1)
    parts: dict[int | None, VerdictGroup] = {}
    for verdict, alert_id in zip(group.verdicts, own, strict=True):
        if alert_id is None:
            alert_id = most[0][0] if most and not verdict.by_itself else recent
        if alert_id is None:
            alert_id = _detected_late(inputs, known, group, verdict)
        parts.setdefault(alert_id, VerdictGroup(*group.key)).verdicts.append(verdict)
    return parts


def _alert_of(
    inputs: JudgingInputs, known: Mapping[int, AlertRow], group: VerdictGroup, verdict: SeriesVerdict
) -> int | None:
    """The alert of the same cause and direction that the series belongs to."""
    ids = [id_ for id_ in inputs.alert_ids_of.get(verdict.key, ()) if id_ in known]
    ids = [id_ for id_ in ids if known[id_].cause == group.cause]
    if group.cause in LEVEL_CAUSES:
        ids = [id_ for id_ in ids if known[id_].verdict == group.verdict]
    return max(ids, default=None)


def _detected_late(
    inputs: JudgingInputs, known: Mapping[int, AlertRow], group: VerdictGroup, verdict: SeriesVerdict
) -> int | None:
    """A live alert of the same key since whose opening the series has deviated, too."""
    live = [alert for alert in known.values() if alert.state in LIVE and _key_of(alert) == group.key]
    since = (alert.id for alert in reversed(live) if deviating_since(inputs, verdict, alert.opened_run_id))
    return next(since, None)


def _key_of(alert: AlertRow) -> GroupKey:
    return (alert.implementation, alert.metric, alert.verdict, alert.cause)


def accepts_findings(inputs: JudgingInputs, alert: AlertRow) -> bool:
    """Whether findings of this run may belong to the alert: it is live, or this run was judged before."""
    return alert.state in LIVE or alert.newest_run_id >= inputs.run.id


def _same_cause(inputs: JudgingInputs, alert: AlertRow, group: VerdictGroup) -> bool:
    if group.cause == "environment":  # each change of the environment has an alert of its own
        return alert.cause == group.cause and alert.opened_run_id == inputs.run.id
    if group.cause == "canary":
        return alert.cause == group.cause
    if _key_of(alert) != group.key:
        return False
    nights_since = sum(run_id > alert.opened_run_id for run_id in inputs.environment_of)
    return nights_since <= SAME_CAUSE_NIGHTS


def has_new_environment(inputs: JudgingInputs, alert: AlertRow) -> bool:
    """Whether the alert's environment has ended, so that no later night is comparable with its level."""
    opened_in = inputs.environment_of.get(alert.opened_run_id)
    new_segment = inputs.environment_before is None and opened_in != inputs.run.environment_id
    return alert.cause in DETECTED_CAUSES and new_segment


def is_clean_run(inputs: JudgingInputs, alert: AlertRow, verdicts: Sequence[SeriesVerdict]) -> bool:
    """Whether the alert's finding is absent from this run; False where the run is no evidence of that."""
    if alert.opened_run_id >= inputs.run.id:
        return False
    if alert.cause == "incorrect":
        return any(verdict.implementation == "fused" for verdict in verdicts)
    if alert.cause not in DETECTED_CAUSES:
        return True
    comparable = inputs.environment_of.get(alert.opened_run_id) == inputs.run.environment_id
    if not comparable or inputs.canary_change is not None:
        return False
    members = [one for one in verdicts if alert.id in inputs.alert_ids_of.get(one.key, ())]
    judged = [one for one in members if one.level is not None and one.cause != "throttled"]
    if not judged or any(one.verdict == alert.verdict for one in judged):
        return False
    if alert.cause == "drift":
        return True
    return float(np.median([_change_towards(alert.verdict, one) for one in judged])) < RECOVERED


def _change_towards(direction: str, verdict: SeriesVerdict) -> float:
    """The verdict's change, positive where it is in the direction `slower` or `faster`."""
    worse = -1 if METRIC_BY_NAME[verdict.metric].better == "higher" else 1
    return (verdict.change or 0.0) * worse * (1 if direction == "slower" else -1)
