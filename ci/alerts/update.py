"""Updating alerts after a run: verdict groups open, continue, resolve or dismiss them.

Whether something changed is decided before; this module only finds the alert that each finding belongs to.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from kswatch.ci.alerts.explanation import explanation_of, incorrect_explanation, incorrect_title, title_of
from kswatch.ci.alerts.grouping import VerdictGroup, group_verdicts
from kswatch.ci.alerts.matching import accepts_findings, has_new_environment, is_clean_run, split_by_alert
from kswatch.ci.regression.families import SeriesKey
from kswatch.ci.regression.history import JudgingInputs
from kswatch.ci.regression.verdicts import SeriesVerdict
from kswatch.db.alerts import lifecycle
from kswatch.db.alerts.causes import LEVEL_CAUSES
from kswatch.db.alerts.lifecycle import LIVE, NewAlert
from kswatch.db.queries.basic import AlertRow, alerts
from kswatch.db.store import Store

Transition = Literal["opened", "confirmed", "resolved"]


@dataclass(frozen=True)
class AlertChange:
    """An alert that the judged run concerns, and its transition in this run; None where nothing is new."""

    alert: AlertRow
    transition: Transition | None


def update_alerts(
    store: Store, inputs: JudgingInputs, verdicts: Sequence[SeriesVerdict]
) -> tuple[list[AlertChange], dict[SeriesKey, int]]:
    """Open and continue alerts for changes and incorrect results, and let the others recover.

    Returns:
        The alerts of the night, and the alert that each moved verdict belongs to.
    """
    alert_of: dict[SeriesKey, int] = {}
    seen: set[int] = set()
    for group in group_verdicts(verdicts):
        for known_id, part in split_by_alert(inputs, group).items():
            if known_id is None and not part.worth_an_alert:
                continue
            alert_id = _open_or_continue(store, inputs, known_id, part)
            seen.add(alert_id)
            alert_of |= {verdict.key: alert_id for verdict in part.verdicts}
    if inputs.incorrect:
        seen.add(_update_incorrect_alert(store, inputs))
    recovered = _recover(store, inputs, verdicts, seen)
    before = {alert.id: alert for alert in inputs.alerts}
    return changes_since(store, before, seen | recovered), alert_of


def changes_since(
    store: Store, before: Mapping[int, AlertRow], alert_ids: Collection[int]
) -> list[AlertChange]:
    """The present state of these alerts, read at once, with their transitions since `before`."""
    found = alerts(store, ids=alert_ids) if alert_ids else []
    return [
        AlertChange(alert, _transition(before.get(alert.id), alert))
        for alert in sorted(found, key=lambda alert: alert.id)
    ]


def _transition(before: AlertRow | None, now: AlertRow) -> Transition | None:
    if before is None:
        return "opened"
    if before.state in LIVE and now.state == "resolved":
        return "resolved"
    return "confirmed" if now.confirmed and not before.confirmed else None


def _open_or_continue(store: Store, inputs: JudgingInputs, alert_id: int | None, part: VerdictGroup) -> int:
    """Open an alert, or record that it recurred; returns its id."""
    known = next((one for one in inputs.alerts if one.id == alert_id), None)
    new = NewAlert(
        device_id=inputs.run.device_id,
        run_id=inputs.run.id,
        verdict=part.verdict,
        cause=part.cause,
        metric=part.metric,
        implementation=part.implementation,
        title=title_of(part),
        worst_change=part.leading[0].change,
        explanation=explanation_of(store, inputs, part, known),
        confirmed=part.confirmed,
    )
    if known is not None and known.state not in LIVE:
        return known.id
    if known is not None:
        lifecycle.record_recurrence(store, known.id, new)
    alert_id = known.id if known else lifecycle.open_alert(store, new)
    if part.verdict == "faster" and part.confirmed and part.cause in LEVEL_CAUSES:
        lifecycle.accept_as_level(store, alert_id, "confirmed faster: the new level")
    return alert_id


def _update_incorrect_alert(store: Store, inputs: JudgingInputs) -> int:
    known = [one for one in inputs.alerts if one.cause == "incorrect" and accepts_findings(inputs, one)]
    new = NewAlert(
        device_id=inputs.run.device_id,
        run_id=inputs.run.id,
        verdict="incorrect",
        cause="incorrect",
        metric="relative_error",
        implementation="fused",
        title=incorrect_title(inputs.incorrect),
        explanation=incorrect_explanation(inputs),
        confirmed=True,
    )
    if not known:
        return lifecycle.open_alert(store, new)
    if known[-1].state in LIVE:
        lifecycle.record_recurrence(store, known[-1].id, new)
    return known[-1].id


def _recover(
    store: Store, inputs: JudgingInputs, verdicts: Sequence[SeriesVerdict], seen: Collection[int]
) -> set[int]:
    """Record a clean run for every alert whose finding is absent; returns the alerts that ended."""
    ended = set()
    for one in inputs.alerts:
        if one.cause == "heuristic" or one.id in seen or one.state not in LIVE:
            continue  # kswatch.ci.alerts.heuristics updates those of heuristics
        new_environment = has_new_environment(inputs, one)
        if not new_environment and not is_clean_run(inputs, one, verdicts):
            continue
        if new_environment:
            lifecycle.dismiss(store, one.id, f"run {inputs.run.id} is judged in another environment")
        elif one.cause in LEVEL_CAUSES and not one.confirmed:
            lifecycle.dismiss(store, one.id, f"not seen again in run {inputs.run.id}")
        elif lifecycle.record_clean_run(store, one.id, inputs.run.id) != "resolved":
            continue
        ended.add(one.id)
    return ended
