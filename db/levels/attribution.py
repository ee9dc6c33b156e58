"""The cause of a lasting change: that of the alert that reported it, or a change around the code."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from kswatch.db.levels.stored import SeriesKey
from kswatch.db.queries.alerts import AlertRow, alerts
from kswatch.db.queries.baseline_sets import RunSets, change_of_runs, run_sets
from kswatch.db.queries.regression_inputs import alert_nights
from kswatch.db.queries.rows import DeviceRow, RunRow
from kswatch.db.store import Store

NEAR = 5
"""Nights by which the onset of an alert may differ from the change of level that it reported."""
NOT_ALERTED = "not alerted"


class CauseOfChange(NamedTuple):
    """The cause of a change, and the alert that reported it."""

    cause: str = NOT_ALERTED
    """That of its alert, else of changed baselines, else `environment`, else `not alerted`."""
    alert: int | None = None


class ChangeAlerts:
    """The alerts of a device's series, by the night on which each series was first bad."""

    def __init__(self, store: Store, device: DeviceRow, nights: Sequence[RunRow]) -> None:
        self._alerts: Mapping[int, AlertRow] = {one.id: one for one in alerts(store, device_id=device.id)}
        self._nights = nights
        self._run_ids = [night.id for night in nights]
        self._sets = run_sets(store, self._run_ids)
        self._of: dict[SeriesKey, set[int]] = {}
        for point in alert_nights(store, list(self._alerts)):
            self._of.setdefault((point.cell_id, point.metric), set()).add(point.alert_id)

    def cause_of(
        self, key: SeriesKey, implementation: str, verdict: str, last_good: int, first: int
    ) -> CauseOfChange:
        """The cause of a series' change between two nights, which are given by their places."""
        near = [
            self._alerts[id_]
            for id_ in self._of.get(key, ())
            if abs(self._onset(self._alerts[id_]) - first) <= NEAR
        ]
        same = [one for one in near if one.verdict == verdict and one.confirmed]
        if same:
            chosen = min(same, key=lambda one: abs(self._onset(one) - first))
            return CauseOfChange(chosen.cause, chosen.id)
        before, after = self._nights[last_good], self._nights[first]
        was, now = self._sets.get(before.id, RunSets()), self._sets.get(after.id, RunSets())
        if of_baselines := change_of_runs(was, now, implementation, key[1]):
            return CauseOfChange(of_baselines.cause)
        if before.environment_id != after.environment_id:
            machine = next((one.id for one in near if one.cause == "environment"), None)
            return CauseOfChange("environment", machine)
        return CauseOfChange()

    def _onset(self, alert: AlertRow) -> int:
        return bisect_left(self._run_ids, alert.explanation.get("first_bad_run") or alert.opened_run_id)
