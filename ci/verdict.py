"""From what the rule says to a verdict on each series, with what it is put down to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ci.config import CiConfig
from ci.evidence import Evidence, Series
from ci.rule import Ruling
from ci.weighing import Weighed, weigh
from db.alert_life import LIVE
from db.records import ProblemKey

Word = Literal["faster", "slower", "same", "ambiguous"]
Cause = Literal["code", "baseline", "environment", "canary", "throttled"]

Latencies = Mapping[tuple[ProblemKey, str], float]
"""By problem and implementation, how far the time is from its level."""

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


def verdicts_of(evidence: Evidence, config: CiConfig) -> list[SeriesVerdict]:
    """Judge every series of a night."""
    family = _families(evidence.series)
    weighed = weigh(
        evidence.newest, evidence.past, evidence.in_level, evidence.higher_is_better, family, config
    )
    latencies = _latency_changes(evidence, weighed.ruling)
    return [_verdict(evidence, weighed, index, latencies, config) for index in range(len(evidence.series))]


def _families(series: Sequence[Series]) -> NDArray[np.int64]:
    """Series of one implementation and metric move together; a number for each such family."""
    names = [(one.implementation, one.metric) for one in series]
    number = {name: index for index, name in enumerate(sorted(set(names)))}
    return np.array([number[name] for name in names], dtype=np.int64)


def _verdict(
    evidence: Evidence, weighed: Weighed, index: int, latencies: Latencies, config: CiConfig
) -> SeriesVerdict:
    level, ruling = weighed.level, weighed.ruling
    word = _word(ruling, index)
    cause = _cause(evidence, index, word == "slower", latencies) if word in ("slower", "faster") else None
    return SeriesVerdict(
        series=evidence.series[index],
        verdict=word,
        cause=cause,
        confirmed=cause in ("code", "baseline")
        and (bool(weighed.confirmed[index]) or _seen_before(evidence, index, word)),
        significant=bool(weighed.significant[index]),
        value=float(evidence.newest.value[index]),
        level=_known(level.value[index]),
        change=_known(ruling.change[index]),
        change_low=_known(ruling.change_low[index]),
        change_high=_known(ruling.change_high[index]),
        noise_units=_known(ruling.units[index]),
        comparable_runs=int(level.comparable_runs[index]),
        reason=_reason(evidence, weighed, index, config),
    )


def _seen_before(evidence: Evidence, index: int, word: Word) -> bool:
    """Whether the series belongs to a living alert of an earlier night that says the same."""
    series = evidence.series[index]
    ids = evidence.members.get((series.cell_id, series.metric), set())
    return any(
        one.id in ids and one.state in LIVE and one.verdict == word and one.opened_run_id < evidence.run.id
        for one in evidence.alerts
    )


def _word(ruling: Ruling, index: int) -> Word:
    if ruling.slower[index]:
        return "slower"
    if ruling.faster[index]:
        return "faster"
    return "ambiguous" if ruling.ambiguous[index] else "same"


def _cause(evidence: Evidence, index: int, slower: bool, latencies: Latencies) -> Cause:
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
    if series.metric == "speedup" and _baseline_moved_more(series, slower, latencies):
        return "baseline"
    return "code"


def _baseline_moved_more(series: Series, slower: bool, latencies: Latencies) -> bool:
    """Whether a speedup changed because the baseline got faster (or slower), rather than fused."""
    direction = 1 if slower else -1
    by_fused = direction * latencies.get((series.problem, "fused"), 0.0)
    by_baseline = -direction * latencies.get((series.problem, series.best_baseline or ""), 0.0)
    return by_baseline > by_fused


def _latency_changes(evidence: Evidence, ruling: Ruling) -> Latencies:
    """How far each cell's time is from its level, where it has one."""
    return {
        (series.problem, series.implementation): float(change)
        for series, change in zip(evidence.series, ruling.change, strict=True)
        if series.metric == "latency_ms" and np.isfinite(change)
    }


def _reason(evidence: Evidence, weighed: Weighed, index: int, config: CiConfig) -> str | None:
    if weighed.ruling.too_little_history[index]:
        runs = weighed.level.comparable_runs[index]
        return f"{TOO_LITTLE_HISTORY}: {runs} comparable runs, {config.minimum_runs} are needed"
    if evidence.throttled[index]:
        return "the device was slowed down while this was measured"
    if weighed.ruling.ambiguous[index]:
        return "beyond the threshold, but its interval overlaps that of the level"
    return None


def _known(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None
