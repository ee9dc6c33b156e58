"""Precision of the alerts, stale mutes, and the patterns of a run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from kswatch.db.alerts.causes import DETECTED_CAUSES
from kswatch.db.queries.basic import AlertRow, alerts
from kswatch.db.schema.tables import Alert, AlertEvent
from kswatch.db.store import Store


@dataclass(frozen=True)
class AlertPrecision:
    """Confirmed alerts by outcome; a decided one was real or a false alarm."""

    real: int
    false_alarms: int
    undecided: int
    """Confirmed alerts that are still live."""
    dismissed: int
    """Provisional alerts that were not confirmed, and of which no notification was sent."""

    @property
    def share(self) -> float | None:
        """Share of real alerts among the decided ones; None before there are any."""
        decided = self.real + self.false_alarms
        return self.real / decided if decided else None


def alert_precision(store: Store, since: datetime | None = None) -> AlertPrecision:
    """The precision of all alerts, or of those opened since then.

    An alert that ended was real unless a user marked it as a false alarm. Improvements are left out, since
    they are accepted automatically.
    """
    opened = (
        select(AlertEvent.alert_id, func.min(AlertEvent.at).label("at"))
        .group_by(AlertEvent.alert_id)
        .subquery()
    )
    query = (
        select(Alert.state, Alert.confirmed, func.count())
        .join(opened, opened.c.alert_id == Alert.id)
        .where(Alert.cause.in_(DETECTED_CAUSES), Alert.verdict != "faster")
        .group_by(Alert.state, Alert.confirmed)
    )
    if since is not None:
        query = query.where(opened.c.at >= since)
    with store.session() as session:
        counts = {(state, confirmed): count for state, confirmed, count in session.execute(query)}
    confirmed_in = {state: count for (state, confirmed), count in counts.items() if confirmed}
    real = confirmed_in.pop("resolved", 0) + confirmed_in.pop("accepted", 0)
    false_alarms = confirmed_in.pop("false_alarm", 0) + counts.get(("false_alarm", False), 0)
    return AlertPrecision(real, false_alarms, sum(confirmed_in.values()), counts.get(("resolved", False), 0))


def stale_mutes(store: Store, now: datetime, after: timedelta) -> list[tuple[AlertRow, datetime]]:
    """Muted alerts without an event for `after`, each with the time of its last event."""
    muted = alerts(store, ("muted",))
    query = (
        select(AlertEvent.alert_id, func.max(AlertEvent.at))
        .where(AlertEvent.action.in_(("mute", "seen again", "confirmed")))
        .group_by(AlertEvent.alert_id)
    )
    with store.session() as session:
        last: dict[int, datetime] = {alert_id: at for alert_id, at in session.execute(query)}
    return [(one, last[one.id]) for one in muted if one.id in last and now - last[one.id] > after]


def patterns_of(store: Store, run_id: int) -> set[str]:
    """The patterns that a run has a measurement of, whatever its status."""
    return {problem.pattern for problem in store.run_problems(run_id)}
