"""The newest night of a store: what is new, what is known, and on what all of that rests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from kswatch.dashboard.data.fitted_rules import in_sample_rules
from kswatch.dashboard.formatting.labels import age, count, share
from kswatch.dashboard.night.alerts import NightAlerts, night_alerts
from kswatch.dashboard.night.devices import DeviceNight, device_nights
from kswatch.db.queries.heuristics import HeuristicScoreRow, heuristic_scores
from kswatch.db.queries.verdicts import verdict_counts
from kswatch.db.statistics import PredictionScore
from kswatch.db.store import Store
from kswatch.services import JudgementLimits

SAME_NIGHT = timedelta(hours=12)
"""Runs that began within this before the newest one belong to its night."""


@dataclass(frozen=True)
class RuleScore:
    """A heuristic on the problems of the night that it was not fitted to."""

    name: str
    score: PredictionScore


@dataclass(frozen=True)
class Night:
    """The newest night of all devices."""

    devices: tuple[DeviceNight, ...]
    """Measured ones, or imported and simulated ones where the store has no other."""
    others: tuple[DeviceNight, ...]
    """Imported and simulated devices beside measured ones."""
    alerts: NightAlerts
    series: int
    """Series of the newest runs with a verdict."""
    too_new: int
    """Series among them with too few nights to be judged."""
    best_rule: RuleScore | None

    @property
    def started_at(self) -> datetime:
        """The time at which the night's last run began."""
        return max(device.newest.started_at for device in self.devices)

    @property
    def ended_at(self) -> datetime:
        """The time at which the night's last run ended."""
        return max(device.newest.finished_at or device.newest.started_at for device in self.devices)

    @property
    def reported(self) -> tuple[DeviceNight, ...]:
        """The devices whose newest run is of this night."""
        newest = self.started_at
        return tuple(one for one in self.devices if newest - one.newest.started_at <= SAME_NIGHT)

    @property
    def is_measured(self) -> bool:
        """Whether these are measurements of this machine."""
        return self.devices[0].source.origin == "measured"

    def calm_devices(self, limits: JudgementLimits, now: datetime) -> tuple[DeviceNight, ...]:
        """The devices without a new or open alert, and with nothing changed, wrong or missing."""
        alerted = {one.alert.device_id for one in self.alerts.live if one.is_new or one.alert.state == "open"}
        return tuple(
            one for one in self.reported if one.device.id not in alerted and one.is_calm(limits, now)
        )


def read_night(store: Store) -> Night | None:
    """The newest night of a store; None where no run has ended."""
    every = device_nights(store)
    measured = [one for one in every if one.source.origin == "measured"]
    devices = measured or every
    if not devices:
        return None
    newest = [one.newest.id for one in devices]
    verdicts = verdict_counts(store, newest)
    return Night(
        tuple(devices),
        tuple(one for one in every if one not in devices),
        night_alerts(store, devices),
        series=sum(row.series for row in verdicts),
        too_new=sum(row.too_new for row in verdicts),
        best_rule=_best_rule(heuristic_scores(store, newest, metric="latency"), devices),
    )


def headline(night: Night, zone: ZoneInfo) -> str:
    """What is new and what is known, in one sentence; a level that merely still differs is not new."""
    started = night.started_at.astimezone(zone)
    title = f"Night of {started.day} {started:%b}"
    if not night.series:
        if not night.is_measured:
            return f"{title}: no measurements of this machine yet; all data are imported or simulated"
        return f"{title}: not judged yet"
    if night.too_new == night.series:
        return f"{title}: too few nights yet to judge {count(night.series, 'series', 'series')}"
    alerts = night.alerts
    parts = [count(alerts.new, "new alert") if alerts.new else "nothing new"]
    if alerts.known:
        parts.append(f"{len(alerts.known)} known ({_of_known(alerts)})")
    if alerts.recovered:
        parts.append(f"{alerts.recovered} recovered")
    if alerts.improved:
        parts.append(count(alerts.improved, "improvement"))
    return f"{title}: {', '.join(parts)}"


def _of_known(alerts: NightAlerts) -> str:
    """Known alerts by their state, with the users of acknowledged ones."""
    states = Counter(one.alert.state for one in alerts.known)
    users = f" by {', '.join(alerts.acknowledged_by)}" if alerts.acknowledged_by else ""
    names = {"open": "open", "acknowledged": f"acknowledged{users}", "muted": "muted"}
    return ", ".join(f"{states[state]} {name}" for state, name in names.items() if states[state])


def facts_line(night: Night, limits: JudgementLimits, now: datetime) -> list[tuple[str, bool]]:
    """How old and how whole the night is: each fact, and whether it is good news."""
    reported, devices = len(night.reported), len(night.devices)
    wrong = sum(one.wrong_cells for one in night.reported)
    missing = sum(one.missing_cells for one in night.reported)
    is_late = any(one.is_overdue(limits, now) for one in night.devices)
    return [
        (age(night.ended_at, now), True),
        (f"{reported} of {count(devices, 'device')} reported", reported == devices and not is_late),
        _canaries(night.reported, limits),
        (f"{count(wrong, 'cell')} wrong", not wrong),
        (f"{missing:,} not measured", not missing),
    ]


def _canaries(devices: Sequence[DeviceNight], limits: JudgementLimits) -> tuple[str, bool]:
    moved = [one.name for one in devices if one.has_moved(limits)]
    if moved:
        more = f" and {len(moved) - 1} more" * (len(moved) > 1)
        return f"canaries moved on {moved[0]}{more}", False
    if not any(one.canaries for one in devices):
        return "canaries need three earlier nights", True
    return f"canaries within {share(limits.canary_floor)} of their level", True


def rules_line(night: Night) -> str:
    """The best heuristic on the night's problems, in one line."""
    best = night.best_rule
    if best is None:
        return "Rules: no prediction of a rule that was not fitted to these devices is stored."
    score = best.score
    majority = share(score.majority or 0.0)
    beats = "beats" if (score.accuracy or 0.0) > (score.majority or 0.0) else "does not beat"
    return (
        f"Rules: {best.name} is right on {share(score.accuracy or 0.0)} of "
        f"{count(score.problems, 'problem')} and {beats} the majority rate of {majority}; "
        f"balanced accuracy {share(score.balanced_accuracy or 0.0)}."
    )


def _best_rule(scores: Sequence[HeuristicScoreRow], devices: Sequence[DeviceNight]) -> RuleScore | None:
    """The rule furthest above the majority rate, each over all problems that it was not fitted to."""
    models = {one.device.id: one.device.model for one in devices}
    by_rule: dict[str, list[HeuristicScoreRow]] = {}
    for row in scores:
        fitted = in_sample_rules(models[row.device_id], row.metric, row.precision, row.layout)
        if row.problems and row.heuristic not in fitted:
            by_rule.setdefault(f"{row.heuristic} v{row.version}", []).append(row)
    rules = [RuleScore(name, _total(rows)) for name, rows in by_rule.items()]
    return max(rules, key=lambda one: (one.score.accuracy or 0) - (one.score.majority or 0), default=None)


def _total(rows: Sequence[HeuristicScoreRow]) -> PredictionScore:
    tp, fp, fn, tn = (sum(getattr(row, cell) for row in rows) for cell in ("tp", "fp", "fn", "tn"))
    regret = sum(row.problems * (row.regret or 0.0) for row in rows)
    return PredictionScore.of_counts(tp, fp, fn, tn, regret)
