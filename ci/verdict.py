"""From what the rule says to a verdict on each series, with what it is put down to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ci.config import CiConfig
from ci.evidence import Evidence, Series
from ci.rule import Bools, Level, Ruling, confirmed, level_of, rule, significant
from db.records import ProblemKey

Word = Literal["faster", "slower", "same", "ambiguous"]
Cause = Literal["code", "baseline", "environment", "canary", "throttled"]

TOO_LITTLE_HISTORY = "too little history"


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

    @property
    def moved(self) -> bool:
        """Whether it says faster or slower."""
        return self.verdict in ("faster", "slower")


@dataclass(frozen=True)
class Findings:
    """What the rule says of a whole night, `(series,)` each."""

    level: Level
    ruling: Ruling
    confirmed: Bools
    significant: Bools
    latencies: Mapping[tuple[ProblemKey, str], float]
    """How far each cell's time is from its level."""


def verdicts_of(evidence: Evidence, config: CiConfig) -> list[SeriesVerdict]:
    """Judge every series of a night."""
    level = level_of(evidence.history, config)
    ruling = rule(evidence.newest, level, evidence.higher_is_better, config)
    before = rule(evidence.night_before, level, evidence.higher_is_better, config)
    findings = Findings(
        level=level,
        ruling=ruling,
        confirmed=confirmed(ruling, before, config),
        significant=significant(ruling, config),
        latencies=_latency_changes(evidence, ruling),
    )
    return [_verdict(evidence, findings, index, config) for index in range(len(evidence.series))]


def _verdict(evidence: Evidence, findings: Findings, index: int, config: CiConfig) -> SeriesVerdict:
    level, ruling = findings.level, findings.ruling
    word = _word(ruling, index)
    cause = _cause(evidence, findings, index, word == "slower") if word in ("slower", "faster") else None
    return SeriesVerdict(
        series=evidence.series[index],
        verdict=word,
        cause=cause,
        confirmed=bool(findings.confirmed[index]) and cause in ("code", "baseline"),
        significant=bool(findings.significant[index]),
        value=float(evidence.newest.value[index]),
        level=_known(level.value[index]),
        change=_known(ruling.change[index]),
        change_low=_known(ruling.change_low[index]),
        change_high=_known(ruling.change_high[index]),
        noise_units=_known(ruling.units[index]),
        comparable_runs=int(level.comparable_runs[index]),
        reason=_reason(evidence, findings, index, config),
    )


def _word(ruling: Ruling, index: int) -> Word:
    if ruling.slower[index]:
        return "slower"
    if ruling.faster[index]:
        return "faster"
    return "ambiguous" if ruling.ambiguous[index] else "same"


def _cause(evidence: Evidence, findings: Findings, index: int, slower: bool) -> Cause:
    """What a change is put down to; the machine's state comes before the code."""
    series = evidence.series[index]
    if evidence.throttled[index]:
        return "throttled"
    if evidence.environment_before is not None:
        return "environment"
    if evidence.canary_change is not None:
        return "canary"
    if series.implementation != "fused":
        return "baseline"
    if series.metric == "speedup" and _baseline_moved_more(series, slower, findings.latencies):
        return "baseline"
    return "code"


def _baseline_moved_more(
    series: Series, slower: bool, latencies: Mapping[tuple[ProblemKey, str], float]
) -> bool:
    """Whether a speedup changed because the baseline got faster (or slower), rather than fused."""
    direction = 1 if slower else -1
    by_fused = direction * latencies.get((series.problem, "fused"), 0.0)
    by_baseline = -direction * latencies.get((series.problem, series.best_baseline or ""), 0.0)
    return by_baseline > by_fused


def _latency_changes(evidence: Evidence, ruling: Ruling) -> dict[tuple[ProblemKey, str], float]:
    """How far each cell's time is from its level, where it has one."""
    return {
        (series.problem, series.implementation): float(change)
        for series, change in zip(evidence.series, ruling.change, strict=True)
        if series.metric == "latency_ms" and np.isfinite(change)
    }


def _reason(evidence: Evidence, findings: Findings, index: int, config: CiConfig) -> str | None:
    if findings.ruling.too_little_history[index]:
        runs = findings.level.comparable_runs[index]
        return f"{TOO_LITTLE_HISTORY}: {runs} comparable runs, {config.minimum_runs} are needed"
    if evidence.throttled[index]:
        return "the device was slowed down while this was measured"
    if findings.ruling.ambiguous[index]:
        return "beyond the threshold, but its interval overlaps that of the level"
    return None


def _known(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None
