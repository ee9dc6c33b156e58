"""Checking runs: verdicts on a run's series, alerts by likely cause, and the exit code.

    newest points + history  ->  threshold test  ->  significance  ->  verdicts with causes  ->  alerts

Read `judge_run` first; ci/README.md describes the procedure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from kswatch.ci.alerts.heuristics import judge_heuristics
from kswatch.ci.alerts.update import AlertChange, changes_since, update_alerts
from kswatch.ci.config import CiConfig
from kswatch.ci.confirmation.apply import apply_confirmation
from kswatch.ci.regression.attribution import CODE_CAUSES
from kswatch.ci.regression.history import read_judging_inputs
from kswatch.ci.regression.series_levels import update_levels
from kswatch.ci.regression.verdicts import SeriesVerdict, judge_series
from kswatch.ci.speed_of_light import judge_speed_of_light
from kswatch.db.alerts.lifecycle import unmute_expired
from kswatch.db.queries.basic import AlertRow, DeviceRow, EnvironmentChange, RunRow, alerts, run
from kswatch.db.queries.regression_inputs import NewestPoint, newest_nights
from kswatch.db.queries.speed_of_light import SpeedOfLightRow
from kswatch.db.records import CONFIRM, HeuristicVerdictRecord
from kswatch.db.store import Store
from kswatch.errors import UsageError

DECIDED_STATES = frozenset({"muted", "accepted", "false_alarm", "resolved"})
"""States of an alert that no longer fails a check."""


@dataclass(frozen=True)
class RunJudgement:
    """The result of judging one run."""

    run: RunRow
    verdicts: Sequence[SeriesVerdict] = ()
    alerts: Sequence[AlertChange] = ()
    incorrect: Sequence[NewestPoint] = ()
    """Cells of `fused` with an incorrect result."""
    environment_changes: Sequence[EnvironmentChange] = ()
    """Differences from the history's environment, on the first night after a change."""
    canary_change: float | None = None
    heuristics: Sequence[HeuristicVerdictRecord] = ()
    """Verdicts on the accuracy and the regret of every heuristic."""
    speed_of_light: Sequence[SpeedOfLightRow] = ()
    """Verdicts on the speed of light, by precision, layout and statistic; none opens an alert."""

    @property
    def regressed(self) -> bool:
        """Whether an undecided alert has a confirmed regression or an incorrect result."""
        found = [change.alert for change in self.alerts]
        undecided = [alert for alert in found if alert.state not in DECIDED_STATES]
        decided = {alert.id for alert in found} - {alert.id for alert in undecided}
        incorrect_alert = next((alert.id for alert in found if alert.cause == "incorrect"), None)
        if self.incorrect and incorrect_alert not in decided:
            return True
        confirmed = [alert for alert in undecided if alert.confirmed]
        if self.run.kind == CONFIRM:  # it has no verdicts of its own
            return any(alert.verdict == "slower" and alert.cause in CODE_CAUSES for alert in confirmed)
        confirmed_ids = {alert.id for alert in confirmed}
        return any(
            (one.confirmed or one.alert_id in confirmed_ids)
            and one.verdict == "slower"
            and one.cause in CODE_CAUSES
            and one.alert_id not in decided
            for one in self.verdicts
        )


@dataclass(frozen=True)
class CheckResult:
    """The judgements of one check, a device each."""

    judgements: Sequence[RunJudgement]
    missing_data: Sequence[tuple[AlertRow, DeviceRow]] = ()
    """Alerts on missing data with their devices, which fail no check."""

    @property
    def exit_code(self) -> int:
        """1 on a confirmed regression or an incorrect result, else 0."""
        return int(any(one.regressed for one in self.judgements))


def judge(
    store: Store, run_id: int | None, config: CiConfig, *, now: datetime, device_id: int | None = None
) -> CheckResult:
    """Judge one run, or the newest night of each device (of one device, if named).

    Verdicts are stored for every run; alerts only change with the newest night of a device.

    Raises:
        UsageError: there is no such run, or it is still being measured.
    """
    unmute_expired(store, now)
    if run_id is None:
        newest = newest_nights(store, device_id)
        return CheckResult([judge_run(store, run(store, one), config, is_newest=True) for one in newest])
    judged = run(store, run_id)
    is_newest = run_id in newest_nights(store, judged.device_id)
    return CheckResult([judge_run(store, judged, config, is_newest=is_newest)])


def judge_run(store: Store, judged: RunRow, config: CiConfig, *, is_newest: bool) -> RunJudgement:
    """Judge one run: read its inputs, judge each series, update the alerts, store the verdicts."""
    if judged.state == "running":
        raise UsageError(f"run {judged.id} is still being measured; judge it when it has finished")
    if judged.kind == CONFIRM:
        before = {alert.id: alert for alert in alerts(store, device_id=judged.device_id)}
        decided = apply_confirmation(store, judged, config)
        return RunJudgement(judged, alerts=changes_since(store, before, decided))
    inputs = read_judging_inputs(store, judged, config)
    found = judge_series(inputs, config)
    changes, alert_of = update_alerts(store, inputs, found) if is_newest else ([], {})
    verdicts = [replace(one, alert_id=alert_of.get(one.key)) for one in found]
    store.record_verdicts(judged.id, verdicts)
    if is_newest and judged.kind == "nightly":
        update_levels(store, inputs, verdicts, config)
    heuristics, of_heuristics = judge_heuristics(store, inputs, config, is_newest=is_newest)
    return RunJudgement(
        run=judged,
        verdicts=verdicts,
        alerts=[*changes, *of_heuristics],
        incorrect=inputs.incorrect,
        environment_changes=inputs.environment_changes,
        canary_change=inputs.canary_change,
        heuristics=heuristics,
        speed_of_light=judge_speed_of_light(store, inputs, verdicts, config),
    )
