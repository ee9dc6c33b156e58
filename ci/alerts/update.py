"""From groups of verdicts to alerts in the store: opened once, seen again, recovered, resolved.

Nothing here decides whether something moved; it only finds out which alert a finding belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from kswatch.ci.alerts.explanation import explanation_of, incorrect_explanation, incorrect_title, title_of
from kswatch.ci.alerts.grouping import Group, group
from kswatch.ci.alerts.matching import by_alert, is_good_night, is_of_another_environment, takes_part
from kswatch.ci.regression.history import LEVEL_CAUSES, Evidence
from kswatch.ci.regression.verdicts import SeriesVerdict
from kswatch.db.alerts.lifecycle import (
    LIVE,
    NewAlert,
    accept_as_level,
    bad_night,
    dismiss,
    good_night,
    open_alert,
)
from kswatch.db.queries.basic import AlertRow, alert
from kswatch.db.store import Store

News = Literal["opened", "confirmed", "resolved"]


@dataclass(frozen=True)
class ToldAlert:
    """An alert that concerns the judged run, and what is new about it: None when it was told before."""

    alert: AlertRow
    news: News | None


@dataclass(frozen=True)
class Raised:
    """The alerts of a night, and which alert each moved verdict belongs to."""

    alerts: list[ToldAlert]
    alert_of: dict[tuple[int, str], int]
    """By cell id and metric."""


def raise_alerts(store: Store, evidence: Evidence, verdicts: Iterable[SeriesVerdict]) -> Raised:
    """Open and continue alerts for what moved or was incorrect, and let the others recover."""
    verdicts = list(verdicts)
    before = {one.id: one for one in evidence.alerts}
    alert_of: dict[tuple[int, str], int] = {}
    seen: set[int] = set()
    for found in group(verdicts):
        for alert_id, part in by_alert(evidence, found).items():
            if alert_id is None and not part.worth_an_alert:
                continue
            told = _tell(store, evidence, alert_id, part)
            seen.add(told)
            alert_of |= {(one.series.cell_id, one.series.metric): told for one in part.verdicts}
    if evidence.incorrect:
        seen.add(_tell_incorrect(store, evidence))
    recovered = _recover(store, evidence, verdicts, seen)
    told_alerts = [as_told(before.get(one), alert(store, one)) for one in sorted(seen | recovered)]
    return Raised(told_alerts, alert_of)


def _tell(store: Store, evidence: Evidence, alert_id: int | None, part: Group) -> int:
    """Open the alert or say that it was seen again; gives its id."""
    known = next((one for one in evidence.alerts if one.id == alert_id), None)
    new = NewAlert(
        device_id=evidence.run.device_id,
        run_id=evidence.run.id,
        verdict=part.verdict,
        cause=part.cause,
        metric=part.metric,
        implementation=part.implementation,
        title=title_of(part),
        worst_change=part.leading[0].change,
        explanation=explanation_of(store, evidence, part, known),
        confirmed=part.confirmed,
    )
    if known is None:
        alert_id = open_alert(store, new)
    elif known.state in LIVE:
        bad_night(store, known.id, new)
        alert_id = known.id
    else:
        return known.id
    if part.verdict == "faster" and part.confirmed and part.cause in LEVEL_CAUSES:
        accept_as_level(store, alert_id, "confirmed faster: the new level")
    return alert_id


def _tell_incorrect(store: Store, evidence: Evidence) -> int:
    known = [one for one in evidence.alerts if one.cause == "incorrect" and takes_part(evidence, one)]
    new = NewAlert(
        device_id=evidence.run.device_id,
        run_id=evidence.run.id,
        verdict="incorrect",
        cause="incorrect",
        metric="relative_error",
        implementation="fused",
        title=incorrect_title(evidence.incorrect),
        explanation=incorrect_explanation(evidence),
        confirmed=True,
    )
    if not known:
        return open_alert(store, new)
    if known[-1].state in LIVE:
        bad_night(store, known[-1].id, new)
    return known[-1].id


def _recover(store: Store, evidence: Evidence, verdicts: list[SeriesVerdict], seen: set[int]) -> set[int]:
    """Count a good night for every alert whose finding is gone; gives those that it ended."""
    ended = set()
    for one in evidence.alerts:
        if one.cause == "heuristic" or one.id in seen or one.state not in LIVE:
            continue  # heuristics' alerts live in ci.alerts.heuristics
        if is_of_another_environment(evidence, one):
            dismiss(store, one.id, f"run {evidence.run.id} begins to be judged in another environment")
            ended.add(one.id)
            continue
        if not is_good_night(evidence, one, verdicts):
            continue
        if one.cause in LEVEL_CAUSES and not one.confirmed:
            dismiss(store, one.id, f"not seen again in run {evidence.run.id}")
            ended.add(one.id)
        elif good_night(store, one.id, evidence.run.id) == "resolved":
            ended.add(one.id)
    return ended


def as_told(before: AlertRow | None, now: AlertRow) -> ToldAlert:
    """The alert with what is new about it since `before`, None if there was none."""
    if before is None:
        return ToldAlert(now, "opened")
    if before.state in LIVE and now.state == "resolved":
        return ToldAlert(now, "resolved")
    if now.confirmed and not before.confirmed:
        return ToldAlert(now, "confirmed")
    return ToldAlert(now, None)
