"""What is known about alerts as a whole: how often they were right, stale mutes, and what a night held."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from kswatch.db.queries.basic import AlertRow, alerts
from kswatch.db.schema.tables import Alert, AlertEvent
from kswatch.db.store import Store

_CLAIMS = ("code", "baseline", "drift")
"""Causes by which the detector claims that something got worse; chance may have made the claim."""


@dataclass(frozen=True)
class Precision:
    """Of the confirmed alerts on which the word is spoken, how many were real."""

    real: int
    false_alarms: int
    undecided: int
    """Confirmed alerts that still live."""
    dismissed: int
    """Provisional ones that were not seen again; people were never told of them."""

    @property
    def share(self) -> float | None:
        """Real ones among those decided; None before there are any."""
        decided = self.real + self.false_alarms
        return self.real / decided if decided else None


def precision(store: Store, since: datetime | None = None) -> Precision:
    """The running precision over alerts opened since then, or ever.

    Real is what ended otherwise than by a person's word that it was a false alarm. What got faster is left
    out: it is accepted at once, by nobody.
    """
    opened = (
        select(AlertEvent.alert_id, func.min(AlertEvent.at).label("at"))
        .group_by(AlertEvent.alert_id)
        .subquery()
    )
    query = (
        select(Alert.state, Alert.confirmed, func.count())
        .join(opened, opened.c.alert_id == Alert.id)
        .where(Alert.cause.in_(_CLAIMS), Alert.verdict != "faster")
        .group_by(Alert.state, Alert.confirmed)
    )
    if since is not None:
        query = query.where(opened.c.at >= since)
    with store.session() as session:
        counts = {(state, confirmed): count for state, confirmed, count in session.execute(query)}
    sure = {state: count for (state, confirmed), count in counts.items() if confirmed}
    real = sure.pop("resolved", 0) + sure.pop("accepted", 0)
    false_alarms = sure.pop("false_alarm", 0) + counts.get(("false_alarm", False), 0)
    return Precision(real, false_alarms, sum(sure.values()), counts.get(("resolved", False), 0))


def stale_mutes(store: Store, now: datetime, after: timedelta) -> list[tuple[AlertRow, datetime]]:
    """Muted alerts on which nothing happened for so long, each with when that was."""
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
    """The patterns that a run holds a measurement of, whatever became of it."""
    return {problem.pattern for problem in store.run_problems(run_id)}
