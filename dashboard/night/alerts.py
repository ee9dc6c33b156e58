"""The alerts of a night: new, known and recovered ones, and the nights and commits of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kswatch.dashboard.night.devices import DeviceNight
from kswatch.db.alerts.lifecycle import LIVE
from kswatch.db.metrics import METRIC_BY_NAME
from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import AlertRow
from kswatch.db.queries.cells import MEASURED_NAMES, cells_of_problem
from kswatch.db.queries.page_queries import MeasuredRevision, revisions_between
from kswatch.db.records import FACTOR, LAYER, ProblemKey, RevisionRecord
from kswatch.db.store import Store
from kswatch.errors import UsageError

MOST_DETAILED = 30
"""Alerts of which commits and nights are read; the others are counted."""


@dataclass(frozen=True)
class NightAlert:
    """A live alert with its device, its commits, and the nights of its worst series."""

    alert: AlertRow
    device: str
    """Its name."""
    is_new: bool
    good: RevisionRecord | None = None
    """The last one before the change."""
    suspects: tuple[MeasuredRevision, ...] = ()
    """Revisions measured after it up to the first bad one, the oldest first."""
    nights: tuple[float, ...] = ()
    """The worst series, the oldest night first; empty where its metric is no column of a measurement."""
    step: int | None = None
    """Index of the first bad night among them."""

    @property
    def cells(self) -> list[Mapping[str, Any]]:
        """The cells that the alert lists, the worst first."""
        return list(self.alert.explanation.get("cells") or ())

    @property
    def worst(self) -> Mapping[str, Any]:
        """The cell of the alert's largest change; empty where it lists none."""
        largest = (cell for cell in self.cells if cell.get("change") == self.alert.worst_change)
        return next(largest, next(iter(self.cells), {}))

    @property
    def bisect_command(self) -> str | None:
        """The command that finds the commit; None where the alert names no two revisions and no cell."""
        revisions = self.alert.explanation.get("revisions") or {}
        good, bad = revisions.get("good"), revisions.get("bad")
        return (
            f"kswatch bisect --alert {self.alert.id}" if good and bad and good != bad and self.cells else None
        )

    @property
    def runs(self) -> tuple[int | None, int]:
        """The last good run and the first bad one."""
        known = self.alert.explanation
        return known.get("last_good_run"), known.get("first_bad_run") or self.alert.opened_run_id


@dataclass(frozen=True)
class NightAlerts:
    """The alerts of a night."""

    live: tuple[NightAlert, ...]
    """The worst first: of a user's attention before acknowledged ones, new before known, then by size."""
    recovered: int
    """Alerts whose cause the night did not show any more."""
    improved: int
    """Improvements that the night found."""
    acknowledged_by: tuple[str, ...]
    """Assignees of acknowledged alerts, or the users who acknowledged them."""

    @property
    def new(self) -> int:
        """Alerts that the night opened."""
        return sum(one.is_new for one in self.live)

    @property
    def known(self) -> tuple[NightAlert, ...]:
        """Alerts of earlier nights that have not ended, without recovering ones."""
        return tuple(one for one in self.live if not one.is_new and one.alert.state != "recovering")


def night_alerts(store: Store, devices: Sequence[DeviceNight]) -> NightAlerts:
    """The alerts of these devices."""
    by_id = {device.device.id: device for device in devices}
    newest_runs = {device.newest.id for device in devices}
    found = [one for one in queries.alerts(store, states=LIVE) if one.device_id in by_id]
    live = sorted((one for one in found if one.verdict != "faster"), key=lambda one: _rank(one, newest_runs))
    ended = queries.alerts(store, states=("resolved", "accepted"), newest_runs=newest_runs)
    # a provisional alert that is dismissed was no change: it has no clean night
    recovered = [one for one in live if one.state == "recovering"]
    recovered += [one for one in ended if one.good_nights]
    detailed = [_detailed(store, one, by_id[one.device_id], newest_runs) for one in live[:MOST_DETAILED]]
    others = [
        NightAlert(one, by_id[one.device_id].name, one.opened_run_id in newest_runs)
        for one in live[MOST_DETAILED:]
    ]
    faster = (one for one in (*found, *ended) if one.verdict == "faster")
    improved = [one for one in faster if one.opened_run_id in newest_runs]
    return NightAlerts((*detailed, *others), len(recovered), len(improved), _acknowledged_by(store, live))


def _rank(one: AlertRow, newest_runs: Collection[int]) -> tuple[object, ...]:
    """Alerts without a size, as of incorrect results and missing data, come before the others."""
    size = float("inf") if one.worst_change is None else abs(one.worst_change)
    return (LIVE.index(one.state), one.opened_run_id not in newest_runs, -size, one.id)


def _detailed(store: Store, alert: AlertRow, device: DeviceNight, newest_runs: Collection[int]) -> NightAlert:
    row = NightAlert(alert, device.name, alert.opened_run_id in newest_runs)
    good, bad = row.runs
    nights = _nights(store, row, device.run_ids)
    revision = None
    if good is not None:
        with suppress(UsageError):  # the run of an export without its history
            revision = queries.run(store, good).revision
    return NightAlert(
        alert,
        device.name,
        row.is_new,
        revision,
        tuple(revisions_between(store, alert.device_id, bad - 1 if good is None else good, bad)),
        tuple(nights.values()),
        next((place for place, run_id in enumerate(nights) if run_id >= bad), None),
    )


def _nights(store: Store, row: NightAlert, run_ids: Sequence[int]) -> dict[int, float]:
    """The values of the alert's worst series by run, the oldest first."""
    worst = row.worst
    problem, metric = _problem(worst), METRIC_BY_NAME.get(str(worst.get("metric")))
    if problem is None or metric is None:
        return {}
    if metric.baselines is not None:
        compared = queries.comparisons(
            store,
            run_ids,
            problem=problem,
            metric="energy" if metric.name.startswith("energy") else "latency",
            baselines=metric.baselines,
        )
        return {one.run_id: one.speedup for one in compared if one.speedup is not None}
    if metric.name not in MEASURED_NAMES:
        return {}
    measured = cells_of_problem(store, run_ids, problem, ("run_id", "mode", metric.name))
    return {
        run_id: value
        for name, run_id, mode, value in measured
        if name == worst.get("implementation") and mode != "hot" and value is not None
    }


def _problem(cell: Mapping[str, Any]) -> ProblemKey | None:
    """The problem of a cell that an explanation lists; None where it lists none."""
    if not {"pattern", "batch", "precision", "layout"} <= cell.keys():
        return None
    about = (int(cell["batch"]), str(cell["precision"]), str(cell["layout"]))
    kind, _, sides = str(cell["pattern"]).partition(" ")
    if kind == LAYER:
        inputs, outputs = map(int, sides.split(","))
        return ProblemKey(1, outputs, inputs, 1, *about, LAYER)
    if "," in kind:
        a, b, c, d = map(int, kind.split(","))
        return ProblemKey(a, b, c, d, *about, FACTOR)
    return ProblemKey(1, 1, 1, 1, *about, str(cell["pattern"]))


def _acknowledged_by(store: Store, live: Sequence[AlertRow]) -> tuple[str, ...]:
    users: dict[str, None] = {}
    for one in live:
        if one.state == "acknowledged":
            events = queries.alert_events(store, one.id)
            decided = [event.who for event in events if event.to_state == "acknowledged"]
            users[one.assigned_to or decided[-1]] = None
    return tuple(users)
