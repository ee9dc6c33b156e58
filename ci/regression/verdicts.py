"""Verdicts: the significance and the likely cause of each series' newest point, as they are stored."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kswatch.ci.config import CiConfig
from kswatch.ci.regression.attribution import Latencies, latency_changes, likely_cause
from kswatch.ci.regression.drift import Drift, measure_drift
from kswatch.ci.regression.families import SeriesKey
from kswatch.ci.regression.history import HISTORY_NIGHTS, JudgingInputs, canary_changes_beyond_limit
from kswatch.ci.regression.machine_normalisation import machine_shift, overall_shift, rescale_past
from kswatch.ci.regression.significance import PooledSignificance, assess
from kswatch.db.alerts.causes import LEVEL_CAUSES
from kswatch.db.alerts.lifecycle import LIVE
from kswatch.db.queries.verdicts import TOO_LITTLE_HISTORY
from kswatch.db.records import VerdictRecord

REASON_LENGTH = 500
_OWN_CAUSE_FACTOR = 1.5
"""A series that changed by more than this times its pool's change has a cause of its own."""


@dataclass(frozen=True, kw_only=True)
class SeriesVerdict(VerdictRecord):
    """The verdict on one series' newest point; `slower` means worse, whatever the metric."""

    cell_id: int
    confirmed: bool
    significant: bool
    """Whether the change is significant among all series of the night."""
    noise_units: float | None
    by_itself: bool = False
    """Whether it is significant without its pool."""

    @property
    def key(self) -> SeriesKey:
        """The series' identity on its device: cell id and metric."""
        return (self.cell_id, self.metric)

    @property
    def moved(self) -> bool:
        """Whether it is faster or slower."""
        return self.verdict in ("faster", "slower")


def judge_series(inputs: JudgingInputs, config: CiConfig) -> list[SeriesVerdict]:
    """Judge every series of a night."""
    inputs = normalise_machine_drift(inputs, config)
    arrays = (inputs.newest, inputs.past, inputs.in_level, inputs.higher_is_better, inputs.families)
    found = assess(*arrays, config, inputs.throttled, inputs.quiet, inputs.dismissed)
    drift = measure_drift(*arrays, found.pool_history, found.pool_in_level, config)
    latencies = latency_changes(inputs, found.per_series.test)
    verdicts = []
    for row in range(len(inputs.series)):
        verdict = _verdict(inputs, found, row, latencies, _known(drift.drift[row]), config)
        verdicts.append(_as_drift(inputs, drift, row, verdict, config) or verdict)
    return verdicts


def normalise_machine_drift(inputs: JudgingInputs, config: CiConfig) -> JudgingInputs:
    """The inputs with each night's common change removed from the past.

    Nothing is removed where a canary or the environment shows that the machine has changed. Where all
    implementations changed together by more than a canary's limit, that counts as a canary's change.
    """
    if inputs.canary_change is not None or inputs.environment_before is not None:
        return inputs
    unthrottled = inputs.newest.where(~inputs.throttled)
    shift = machine_shift(unthrottled, inputs.past, inputs.in_level, inputs.families, inputs.canaries)
    overall = dict(enumerate(1 + overall_shift(shift, inputs.families)))
    moved = canary_changes_beyond_limit(overall, config).get(len(overall) - 1)
    if moved is not None:
        return replace(inputs, canary_change=moved)
    return replace(inputs, past=rescale_past(inputs.past, shift, inputs.families))


def _verdict(
    inputs: JudgingInputs,
    found: PooledSignificance,
    row: int,
    latencies: Latencies,
    drift: float | None,
    config: CiConfig,
) -> SeriesVerdict:
    series, significance = inputs.series[row], found.per_series
    level, test = significance.level, significance.test
    verdict = test.verdict(row)
    moved = verdict in ("slower", "faster")
    cause = likely_cause(inputs, row, float(test.change[row]), latencies) if moved else None
    return SeriesVerdict(
        series.problem,
        series.implementation,
        series.metric,
        cell_id=series.cell_id,
        verdict=verdict,
        cause=cause,
        confirmed=cause in LEVEL_CAUSES and bool(significance.confirmed[row]),
        significant=bool(significance.significant[row]),
        by_itself=_by_itself(found, row),
        value=float(inputs.newest.value[row]),
        level=_known(level.value[row]),
        change=_known(test.change[row]),
        change_low=_known(test.change_low[row]),
        change_high=_known(test.change_high[row]),
        noise_units=_known(test.units[row]),
        comparable_runs=int(level.comparable_runs[row]),
        reason=_reason(inputs, found, row, config),
        p_value=None if test.too_little_history[row] else float(significance.p_value[row]),
        smallest_detectable_change=_known(test.smallest_detectable[row]),
        drift=drift,
    )


def _by_itself(found: PooledSignificance, row: int) -> bool:
    """Whether a series is significant without its pool, and changed far more than the pool if it has one."""
    pool = found.pool_of[row]
    if pool < 0 or not found.by_itself[row]:
        return bool(found.by_itself[row])
    own, shared = found.per_series.test.change[row], found.pools.test.change[pool]
    return bool(abs(own) > _OWN_CAUSE_FACTOR * abs(shared))


def _as_drift(
    inputs: JudgingInputs, drift: Drift, row: int, verdict: SeriesVerdict, config: CiConfig
) -> SeriesVerdict | None:
    """The verdict with the drift as its finding; None where there is none, or where the night has its own."""
    may_continue = drift.recent[row] > config.drift_floor / 2
    of_others = inputs.canary_change is not None or row in inputs.baseline_changes
    quarantined = inputs.throttled[row] or of_others
    if verdict.moved or quarantined or not (drift.drifted[row] or may_continue):
        return None
    live = [alert for alert in inputs.alerts if alert.state in LIVE]
    own = inputs.alert_ids_of.get(verdict.key, set())
    continues = may_continue and any(alert.id in own and alert.cause == "drift" for alert in live)
    named = (verdict.implementation, verdict.metric)
    steps = (alert for alert in live if alert.cause in LEVEL_CAUSES)
    repeats_step = any((alert.implementation, alert.metric) == named for alert in steps)
    if repeats_step or not (drift.drifted[row] or continues):
        return None
    point, best = inputs.newest, float(drift.best[row])
    return replace(
        verdict,
        verdict="slower",
        cause="drift",
        confirmed=True,
        significant=True,
        level=best,
        change=verdict.drift,
        change_low=_known(point.low[row] / best - 1),
        change_high=_known(point.high[row] / best - 1),
        reason=f"its level is {100 * drift.recent[row]:.1f} % from the best of {HISTORY_NIGHTS} nights",
    )


def _reason(inputs: JudgingInputs, found: PooledSignificance, row: int, config: CiConfig) -> str | None:
    significance, pool = found.per_series, found.pool_of[row]
    if significance.test.too_little_history[row]:
        runs = significance.level.comparable_runs[row]
        return f"{TOO_LITTLE_HISTORY}: {runs} comparable runs, {config.minimum_runs} are needed"
    if inputs.throttled[row]:
        return "the device was throttled during the measurement"
    if row in inputs.baseline_changes:
        return inputs.baseline_changes[row].words[:REASON_LENGTH]
    if significance.test.ambiguous[row]:
        return "beyond the threshold, but its interval overlaps that of the level"
    if pool < 0:
        return None
    label = inputs.families.pool_labels[pool]
    change = 100 * found.pools.test.change[pool]
    direction = "worse" if change > 0 else "better"
    members = f"{len(inputs.families.pools[pool])} series{label and ' of ' + label}"
    return f"all {members}: {abs(change):.1f} % {direction}"


def _known(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None
