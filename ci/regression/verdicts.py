"""From what the rule says to a verdict on each series, with what it is put down to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from kswatch.ci.config import CiConfig
from kswatch.ci.regression.attribution import Cause, Latencies, cause_of, latency_changes
from kswatch.ci.regression.drift import Drift, drift_of
from kswatch.ci.regression.families import Series
from kswatch.ci.regression.history import LEVEL_CAUSES, NIGHTS_LOOKED_AT, Evidence, canary_moves
from kswatch.ci.regression.machine_normalisation import as_of_tonight, machine_shift, overall_shift
from kswatch.ci.regression.significance import WithPools, weigh
from kswatch.ci.regression.threshold import Ruling
from kswatch.db.alerts.lifecycle import LIVE
from kswatch.db.queries.verdict_changes import TOO_LITTLE_HISTORY as TOO_LITTLE_HISTORY

Word = Literal["faster", "slower", "same", "ambiguous"]
_FURTHER = 1.5
"""Times its pool's change: a series that moved further has a cause of its own."""


@dataclass(frozen=True)
class SeriesVerdict:
    """The judgement on one series' newest point; `slower` means worse, whatever the metric."""

    series: Series
    verdict: Word
    cause: Cause | None
    confirmed: bool
    significant: bool
    """Whether it survives when all series of the night are looked at together."""
    value: float
    level: float | None
    change: float | None
    """value / level - 1."""
    change_low: float | None
    change_high: float | None
    noise_units: float | None
    comparable_runs: int
    reason: str | None
    by_itself: bool = False
    """Whether it is significant without its pool."""
    p_value: float | None = None
    """How often a quiet night goes as far, by itself or with its pool."""
    smallest_detectable_change: float | None = None
    """The smallest change that this series alone would have been told for tonight."""
    drift: float | None = None
    """value / best level of 90 nights - 1."""

    @property
    def moved(self) -> bool:
        """Whether it says faster or slower."""
        return self.verdict in ("faster", "slower")


def verdicts_of(evidence: Evidence, config: CiConfig) -> list[SeriesVerdict]:
    """Judge every series of a night."""
    evidence = on_tonights_machine(evidence, config)
    arrays = (evidence.newest, evidence.past, evidence.in_level, evidence.higher_is_better, evidence.kin)
    found = weigh(*arrays, config, evidence.throttled, evidence.quiet)
    drift = drift_of(*arrays, found.pool_history, found.pool_in_level, config)
    latencies = latency_changes(evidence, found.weighed.ruling)
    came = [_known(one) for one in drift.drift]
    verdicts = (_verdict(evidence, found, index, latencies, one, config) for index, one in enumerate(came))
    return [_drifted(evidence, drift, index, one, config) or one for index, one in enumerate(verdicts)]


def on_tonights_machine(evidence: Evidence, config: CiConfig) -> Evidence:
    """The same with what each night's machine did to everything taken out of the past.

    Where a canary or the environment says that the machine is another one, nothing is taken out; where all
    implementations moved together as far as a canary may not, they count as one.
    """
    if evidence.canary_change is not None or evidence.environment_before is not None:
        return evidence
    fair = evidence.newest.where(~evidence.throttled)
    shift = machine_shift(fair, evidence.past, evidence.in_level, evidence.kin, evidence.canaries)
    overall = dict(enumerate(1 + overall_shift(shift, evidence.kin)))
    moved = canary_moves(overall, config).get(len(overall) - 1)
    if moved is not None:
        return replace(evidence, canary_change=moved)
    return replace(evidence, past=as_of_tonight(evidence.past, shift, evidence.kin))


def _verdict(
    evidence: Evidence,
    found: WithPools,
    index: int,
    latencies: Latencies,
    drift: float | None,
    config: CiConfig,
) -> SeriesVerdict:
    weighed = found.weighed
    level, ruling = weighed.level, weighed.ruling
    word = _word(ruling, index)
    moved = word in ("slower", "faster")
    cause = cause_of(evidence, index, float(ruling.change[index]), latencies) if moved else None
    return SeriesVerdict(
        series=evidence.series[index],
        verdict=word,
        cause=cause,
        confirmed=cause in ("code", "baseline") and bool(weighed.confirmed[index]),
        significant=bool(weighed.significant[index]),
        by_itself=_by_itself(found, index),
        value=float(evidence.newest.value[index]),
        level=_known(level.value[index]),
        change=_known(ruling.change[index]),
        change_low=_known(ruling.change_low[index]),
        change_high=_known(ruling.change_high[index]),
        noise_units=_known(ruling.units[index]),
        comparable_runs=int(level.comparable_runs[index]),
        reason=_reason(evidence, found, index, config),
        p_value=None if ruling.too_little_history[index] else float(weighed.chance[index]),
        smallest_detectable_change=_known(ruling.smallest[index]),
        drift=drift,
    )


def _by_itself(found: WithPools, index: int) -> bool:
    """Whether a series is significant without its pool, or has moved further than that."""
    pool = found.carried_by[index]
    if pool < 0 or not found.by_itself[index]:
        return bool(found.by_itself[index])
    own, shared = found.weighed.ruling.change[index], found.pools.ruling.change[pool]
    return bool(abs(own) > _FURTHER * abs(shared))


def _drifted(
    evidence: Evidence, drift: Drift, index: int, verdict: SeriesVerdict, config: CiConfig
) -> SeriesVerdict | None:
    """The verdict whose finding is its drift, where the night alone shows none."""
    told = drift.told[index] or (
        drift.recent[index] > config.drift_floor / 2 and _in_living_drift(evidence, index)
    )
    quarantined = evidence.throttled[index] or evidence.canary_change is not None
    if verdict.moved or not told or quarantined or _is_told_already(evidence, index):
        return None
    point, best = evidence.newest, float(drift.best[index])
    return replace(
        verdict,
        verdict="slower",
        cause="drift",
        confirmed=True,
        significant=True,
        level=best,
        change=verdict.drift,
        change_low=_known(point.low[index] / best - 1),
        change_high=_known(point.high[index] / best - 1),
        reason=f"its level is {100 * drift.recent[index]:.1f} % from the best of {NIGHTS_LOOKED_AT} nights",
    )


def _is_told_already(evidence: Evidence, index: int) -> bool:
    """Whether a step of the same implementation is being told, of which a drift would be the echo."""
    series = evidence.series[index]
    named = (series.implementation, series.metric)
    return any(
        (one.implementation, one.metric) == named and one.state in LIVE and one.cause in LEVEL_CAUSES
        for one in evidence.alerts
    )


def _in_living_drift(evidence: Evidence, index: int) -> bool:
    series = evidence.series[index]
    ids = evidence.members.get((series.cell_id, series.metric), set())
    return any(one.id in ids and one.state in LIVE and one.cause == "drift" for one in evidence.alerts)


def _word(ruling: Ruling, index: int) -> Word:
    if ruling.slower[index]:
        return "slower"
    if ruling.faster[index]:
        return "faster"
    return "ambiguous" if ruling.ambiguous[index] else "same"


def _reason(evidence: Evidence, found: WithPools, index: int, config: CiConfig) -> str | None:
    weighed, pool = found.weighed, found.carried_by[index]
    if weighed.ruling.too_little_history[index]:
        runs = weighed.level.comparable_runs[index]
        return f"{TOO_LITTLE_HISTORY}: {runs} comparable runs, {config.minimum_runs} are needed"
    if evidence.throttled[index]:
        return "the device was slowed down while this was measured"
    if weighed.ruling.ambiguous[index]:
        return "beyond the threshold, but its interval overlaps that of the level"
    if pool >= 0:
        label = evidence.kin.pool_labels[pool]
        change = 100 * found.pools.ruling.change[pool]
        return (
            f"all {len(evidence.kin.pools[pool])} series{label and ' of ' + label}: {abs(change):.1f} % "
            + ("worse" if change > 0 else "better")
        )
    return None


def _known(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None
