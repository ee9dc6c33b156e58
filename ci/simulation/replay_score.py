"""The score of replayed series: which marked changes were alerted and when, and which alerts were false."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scipy import special  # importing scipy.stats takes longer than reading a night

from kswatch.ci.simulation.replay import ReplayedAlert, ReplayedSeries
from kswatch.db.alerts.lifecycle import GOOD_NIGHTS

FIRST_NIGHT = 20
"""Changes and alerts before it do not count: a history begins."""
MARGIN = 5
"""Nights by which an onset may differ from a marked change."""
LARGE = 3.0
"""Noise units from which a change should be alerted soon."""
WITHIN = (1, 3, 5, 10)
"""Nights, the first of the new level included, within which alerts are counted."""
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Share:
    """A share with its exact interval (Clopper and Pearson 1934, "The use of confidence limits")."""

    found: int
    of: int
    share: float | None
    """None of nothing."""
    low: float
    high: float


def exact_share(found: int, of: int) -> Share:
    """The share `found` of `of` with its exact 95 % interval."""
    rest = (1 - CONFIDENCE) / 2
    low = float(special.betaincinv(found, of - found + 1, rest)) if found else 0.0
    high = float(special.betaincinv(found + 1, of - found, 1 - rest)) if found < of else 1.0
    return Share(found, of, found / of if of else None, low, high)


@dataclass(frozen=True)
class MarkedChange:
    """A change that people marked, and its notification."""

    series: str
    night: int
    size: float
    """In noise units of its series."""
    alerted: int | None
    """The night on which an alert with this onset was confirmed, or on which the alert that it ends was
    resolved; None if neither."""
    by_recovery: bool
    """Whether the notification was that a former alert is resolved."""

    def within(self, nights: int) -> bool:
        """Whether it was alerted within so many nights, the first of the new level included."""
        return self.alerted is not None and self.alerted - self.night < nights


@dataclass(frozen=True)
class ReplayScore:
    """The score of some replayed series."""

    series: int
    nights: int
    """Nights that count."""
    changes: tuple[MarkedChange, ...]
    true_alerts: int
    false_alerts: int
    false_per_1000: Share
    """False alerts per night of a series, x 1,000."""
    unconfirmed: int
    """Alerts that were opened and never confirmed, so that no notification was sent."""
    resolved_while_lasting: int
    """True alerts that were resolved while the marked level lasted."""

    def share_within(self, nights: int, least_size: float = 0.0) -> Share:
        """The share of the changes of at least this size that were alerted within so many nights."""
        counted = [one for one in self.changes if one.size >= least_size]
        return exact_share(sum(one.within(nights) for one in counted), len(counted))


def score(replayed: Sequence[ReplayedSeries]) -> ReplayScore:
    """Score replayed series, as one set."""
    counted = [(one, alert) for one in replayed for alert in one.alerts if alert.onset >= FIRST_NIGHT]
    alerted = [(one, alert) for one, alert in counted if alert.alerted is not None]
    true = [(one, alert) for one, alert in alerted if nearest_change(one, alert.onset) is not None]
    nights = sum(max(len(one.series.values) - FIRST_NIGHT, 0) for one in replayed)
    false = len(alerted) - len(true)
    share = exact_share(false, nights)
    per_1000 = [None if value is None else 1000 * value for value in (share.share, share.low, share.high)]
    return ReplayScore(
        series=len(replayed),
        nights=nights,
        changes=tuple(change for one in replayed for change in marked_changes(one)),
        true_alerts=len(true),
        false_alerts=false,
        false_per_1000=Share(false, nights, per_1000[0], per_1000[1] or 0.0, per_1000[2] or 0.0),
        unconfirmed=len(counted) - len(alerted),
        resolved_while_lasting=sum(_lasts_beyond(one, alert) for one, alert in true),
    )


def as_document(replayed: Sequence[ReplayedSeries]) -> dict[str, Any]:
    """The score and all that it is made of, as `kswatch replay --json` prints it."""
    found = score(replayed)
    rest = {name: getattr(found, name) for name in ("series", "nights", "true_alerts", "false_alerts")}
    return rest | {
        "alerted_within": {str(nights): found.share_within(nights) for nights in WITHIN},
        "large_alerted_within": {str(nights): found.share_within(nights, LARGE) for nights in WITHIN},
        "large": LARGE,
        "false_per_1000_nights": found.false_per_1000,
        "unconfirmed_alerts": found.unconfirmed,
        "resolved_while_lasting": found.resolved_while_lasting,
        "changes": list(found.changes),
        "alerts": [
            asdict(alert) | {"series": one.series.name, "change_of": nearest_change(one, alert.onset)}
            for one in replayed
            for alert in one.alerts
        ],
    }


def marked_changes(of: ReplayedSeries) -> Iterator[MarkedChange]:
    """The marked changes of a series that count, each with its first notification."""
    for night in of.series.changes:
        if night < FIRST_NIGHT:
            continue
        alerts = [one.alerted for one in of.alerts if abs(one.onset - night) <= MARGIN]
        ends = [one.resolved for one in of.alerts if _ends_near(one, night)]
        by_alert, by_end = _first(alerts), _first(ends)
        by_recovery = by_end is not None and (by_alert is None or by_end < by_alert)
        first = by_end if by_recovery else by_alert
        yield MarkedChange(of.series.name, night, of.series.size(night), first, by_recovery)


def nearest_change(of: ReplayedSeries, night: int) -> int | None:
    """The marked change nearest to a night, if it is within the margin."""
    near = [change for change in of.series.changes if abs(change - night) <= MARGIN]
    return min(near, key=lambda change: abs(change - night)) if near else None


def _first(nights: Iterable[int | None]) -> int | None:
    return min((one for one in nights if one is not None), default=None)


def _recovery_of(alert: ReplayedAlert) -> int | None:
    """The first of the clean nights that ended an alert."""
    return None if alert.resolved is None else alert.resolved - GOOD_NIGHTS + 1


def _ends_near(alert: ReplayedAlert, night: int) -> bool:
    recovery = _recovery_of(alert)
    return recovery is not None and alert.onset < night and abs(recovery - night) <= MARGIN


def _lasts_beyond(of: ReplayedSeries, alert: ReplayedAlert) -> bool:
    """Whether a true alert was resolved although people see its level last."""
    recovery, begin = _recovery_of(alert), nearest_change(of, alert.onset)
    if recovery is None or begin is None:
        return False
    return not any(begin < change <= recovery + MARGIN for change in of.series.changes)
