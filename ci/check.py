"""The story of judging: a run's series, a verdict on each, one alert for each cause.

    newest point + comparable history  ->  rule  ->  verdict and cause  ->  groups  ->  alerts

Read `judge_run` first; ci/README.md says the rule in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from kswatch.ci.alerts.heuristics import judge_heuristics
from kswatch.ci.alerts.update import Raised, ToldAlert, as_told, raise_alerts
from kswatch.ci.config import CiConfig
from kswatch.ci.confirmation.apply import take_answer
from kswatch.ci.confirmation.request import KIND
from kswatch.ci.missing_data import Silence
from kswatch.ci.regression.attribution import CODE_CAUSES
from kswatch.ci.regression.history import Evidence, gather
from kswatch.ci.regression.verdicts import SeriesVerdict, verdicts_of
from kswatch.db.alerts.lifecycle import end_mutes
from kswatch.db.queries.basic import EnvironmentChange, RunRow, alert, alerts, environment_changes, run
from kswatch.db.queries.regression_inputs import NewestPoint, newest_nights
from kswatch.db.records import HeuristicVerdictRecord, VerdictRecord
from kswatch.db.store import Store
from kswatch.errors import UsageError

SILENCED = frozenset({"muted", "accepted", "false_alarm", "resolved"})
"""States in which an alert no longer fails a check: somebody decided."""


@dataclass(frozen=True)
class Judgement:
    """What is to be said of one run."""

    run: RunRow
    verdicts: list[SeriesVerdict]
    alert_of: dict[tuple[int, str], int]
    """Which alert a series (cell id, metric) belongs to."""
    alerts: list[ToldAlert]
    incorrect: list[NewestPoint]
    environment_changes: list[EnvironmentChange]
    """What differs from the history's environment, on the first night after a change."""
    canary_change: float | None
    heuristics: list[HeuristicVerdictRecord]
    """On the accuracy and the regret of every heuristic."""

    @property
    def regressed(self) -> bool:
        """Whether a regression is confirmed, or a result incorrect, and nobody has decided on it."""
        decided = {told.alert.id for told in self.alerts if told.alert.state in SILENCED}
        incorrect_alert = next((one.alert.id for one in self.alerts if one.alert.cause == "incorrect"), None)
        if self.incorrect and incorrect_alert not in decided:
            return True
        confirmed = {
            told.alert.id for told in self.alerts if told.alert.confirmed and told.alert.id not in decided
        }
        if self.run.kind == KIND:  # it has no verdicts of its own
            worse = {told.alert.id for told in self.alerts if told.alert.verdict == "slower"}
            failing = {told.alert.id for told in self.alerts if told.alert.cause in CODE_CAUSES}
            return bool(confirmed & worse & failing)
        return any(
            (one.confirmed or alert_id in confirmed) and one.verdict == "slower" and one.cause in CODE_CAUSES
            for one in self.verdicts
            if (alert_id := self.alert_of.get((one.series.cell_id, one.series.metric))) not in decided
        )


@dataclass(frozen=True)
class Judged:
    """The judgements of one check, a device each."""

    judgements: list[Judgement]
    silences: Sequence[Silence] = ()
    """What is no longer measured; it fails no check."""

    @property
    def exit_code(self) -> int:
        """1 on a confirmed regression or an incorrect result, else 0."""
        return int(any(one.regressed for one in self.judgements))


def judge(
    store: Store, run_id: int | None, config: CiConfig, *, now: datetime, device_id: int | None = None
) -> Judged:
    """Judge one run, or the newest night of each device (of one device, if named).

    Verdicts are stored for every run; alerts only move with the newest night of a device.

    Raises:
        UsageError: there is no such run, or it is still being measured.
    """
    end_mutes(store, now)
    run_ids = [run_id] if run_id is not None else newest_nights(store, device_id)
    return Judged([judge_run(store, one, config) for one in run_ids])


def judge_run(store: Store, run_id: int, config: CiConfig) -> Judgement:
    """Judge one run: read its evidence, say what moved, raise alerts, store the verdicts."""
    judged = run(store, run_id)
    if judged.state == "running":
        raise UsageError(f"run {run_id} is still being measured; judge it when it has finished")
    if judged.kind == KIND:
        return _judge_confirmation(store, judged, config)
    evidence = gather(store, judged, config)
    verdicts = verdicts_of(evidence, config)
    newest = run_id in newest_nights(store, judged.device_id)
    raised = raise_alerts(store, evidence, verdicts) if newest else Raised([], {})
    store.record_verdicts(run_id, [record_of(one, raised.alert_of) for one in verdicts])
    comparable = evidence.nights_alike()
    heuristics, told = judge_heuristics(store, judged, comparable, config, is_newest=newest)
    return Judgement(
        run=judged,
        verdicts=verdicts,
        alert_of=raised.alert_of,
        alerts=[*raised.alerts, *told],
        incorrect=evidence.incorrect,
        environment_changes=_environment_changes(store, evidence),
        canary_change=evidence.canary_change,
        heuristics=heuristics,
    )


def _judge_confirmation(store: Store, judged: RunRow, config: CiConfig) -> Judgement:
    """What measuring again did to the alerts of the run that it was asked for."""
    before = {one.id: one for one in alerts(store, device_id=judged.device_id)}
    answers = take_answer(store, judged, config)
    told = [as_told(before[one.alert_id], alert(store, one.alert_id)) for one in answers]
    return Judgement(judged, [], {}, told, [], [], None, [])


def _environment_changes(store: Store, evidence: Evidence) -> list[EnvironmentChange]:
    if evidence.environment_before is None or evidence.night_before is None:
        return []
    return environment_changes(store, evidence.night_before.run_id, evidence.run.id)


def record_of(verdict: SeriesVerdict, alert_of: Mapping[tuple[int, str], int]) -> VerdictRecord:
    """The verdict as it is stored, with the alert that it belongs to."""
    series = verdict.series
    return VerdictRecord(
        problem=series.problem,
        implementation=series.implementation,
        metric=series.metric,
        verdict=verdict.verdict,
        value=verdict.value,
        cause=verdict.cause,
        level=verdict.level,
        change=verdict.change,
        change_low=verdict.change_low,
        change_high=verdict.change_high,
        comparable_runs=verdict.comparable_runs,
        p_value=verdict.p_value,
        smallest_detectable_change=verdict.smallest_detectable_change,
        drift=verdict.drift,
        reason=verdict.reason,
        alert_id=alert_of.get((series.cell_id, series.metric)),
    )
