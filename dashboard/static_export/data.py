"""The data of the static overview, read from the store without Streamlit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from kswatch.dashboard.data.change_summary import change_summary, night_label
from kswatch.dashboard.data.device_runs import DeviceRuns
from kswatch.dashboard.data.run_sources import SOURCES, preferred_history
from kswatch.dashboard.formatting.labels import device_names
from kswatch.db.alerts.lifecycle import LIVE
from kswatch.db.queries import basic as queries
from kswatch.db.queries import page_queries
from kswatch.db.queries import verdicts as queries_changes
from kswatch.db.queries.basic import AlertRow, DeviceRow, EnvironmentChange, RunRow, VerdictRow
from kswatch.db.queries.heuristics import HeuristicScoreRow, heuristic_scores
from kswatch.db.store import Store
from kswatch.services import JudgementLimits

NIGHTS = 90
MOST_CHANGES = 30
MOST_ALERTS = 30


@dataclass(frozen=True)
class MedianTrend:
    """The medians of one metric, precision and layout over the nights, the oldest first."""

    metric: str
    precision: str
    layout: str
    medians: tuple[float, ...]
    fused_wins: int
    problems: int
    left_out: int


@dataclass(frozen=True)
class DeviceFacts(DeviceRuns):
    """A device on the overview."""

    trends: tuple[MedianTrend, ...]
    canaries: dict[str, float]
    """Of the newest run, as shares of their own median."""
    environment_changes: tuple[EnvironmentChange, ...]


@dataclass(frozen=True)
class RuleAccuracy:
    """The accuracy of a heuristic in one run, over all precisions and layouts, and the majority rate."""

    device_name: str
    heuristic: str
    problems: int
    accuracy: float
    majority: float


@dataclass(frozen=True)
class Overview:
    """The data of the page."""

    store_name: str
    now: datetime
    devices: tuple[DeviceFacts, ...]
    alerts: tuple[AlertRow, ...]
    verdict_counts: dict[str, int]
    """Series of the newest runs with enough history to be judged, by verdict."""
    too_new: int
    change_summary: str
    changes: tuple[VerdictRow, ...]
    rules: tuple[RuleAccuracy, ...]
    limits: JudgementLimits

    def name_of(self, device_id: int) -> str:
        """The name of a device."""
        names = (facts.name for facts in self.devices if facts.device.id == device_id)
        return next(names, f"device {device_id}")


def read_overview(store: Store, now: datetime, limits: JudgementLimits) -> Overview:
    """The overview of a store, the devices with measured runs first."""
    known = queries.devices(store)
    names = device_names(known)
    groups = page_queries.run_groups(store)
    found = [_device(store, device, names[device.id], groups) for device in known]
    devices = sorted(filter(None, found), key=lambda facts: SOURCES.index(facts.source))
    newest = [facts.newest.id for facts in devices]
    counts: dict[str, int] = defaultdict(int)
    too_new = 0
    for row in queries_changes.verdict_counts(store, newest):
        counts[row.verdict] += row.series - row.too_new
        too_new += row.too_new
    return Overview(
        store_name=store.name,
        now=now,
        devices=tuple(devices),
        alerts=tuple(queries.alerts(store, states=LIVE, limit=MOST_ALERTS)),
        verdict_counts=dict(counts),
        too_new=too_new,
        change_summary=_change_summary(store, devices, sum(counts.values())),
        changes=tuple(queries_changes.changes(store, newest, MOST_CHANGES)),
        rules=tuple(
            _rules(heuristic_scores(store, newest), {facts.device.id: facts.name for facts in devices})
        ),
        limits=limits,
    )


def _change_summary(store: Store, devices: Sequence[DeviceFacts], series: int) -> str:
    pairs = [run for facts in devices for run in facts.runs[-2:]]
    if not pairs:
        return ""
    groups = queries_changes.change_groups(store, [run.id for run in pairs])
    night = night_label(max(run.started_at for run in pairs))
    return change_summary(groups, {run.id: run.device_id for run in pairs}, night, series)


def _device(
    store: Store, device: DeviceRow, name: str, groups: Sequence[page_queries.RunGroup]
) -> DeviceFacts | None:
    history = preferred_history(device.id, groups)
    if history is None:
        return None
    source, filters = history
    runs = tuple(queries.ended_runs(store, [filters], NIGHTS)[0])
    moved = len(runs) > 1 and runs[-1].environment_id != runs[-2].environment_id
    changes = queries.environment_changes(store, runs[-2].id, runs[-1].id) if moved else []
    return DeviceFacts(
        device, name, source, runs, tuple(_trends(store, runs)), _canaries(store, runs), tuple(changes)
    )


def _trends(store: Store, runs: Sequence[RunRow]) -> Iterable[MedianTrend]:
    rows = queries.summaries(store, [run.id for run in runs])
    by_key: dict[tuple[str, str, str], list[queries.SummaryRow]] = defaultdict(list)
    for row in rows:
        by_key[row.metric, row.precision, row.layout].append(row)
    for (metric, precision, layout), own in sorted(by_key.items(), key=lambda item: _order(item[0])):
        newest = own[-1]
        if newest.run_id != runs[-1].id or newest.median_speedup is None:
            continue
        medians = tuple(row.median_speedup for row in own if row.median_speedup is not None)
        yield MedianTrend(
            metric, precision, layout, medians, newest.fused_wins, newest.problems, newest.left_out
        )


def _order(key: tuple[str, str, str]) -> tuple[object, ...]:
    metric, precision, layout = key
    return (metric != "latency", precision != "fp32", precision, layout)


def _canaries(store: Store, runs: Sequence[RunRow]) -> dict[str, float]:
    rates: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in queries.canaries(store, [run.id for run in runs]):
        rates[f"{row.name} {row.precision}"][row.run_id].append(row.rate)
    shares = {}
    for canary, by_run in rates.items():
        level = median(rate for own in by_run.values() for rate in own)
        if runs[-1].id in by_run and level:
            shares[canary] = median(by_run[runs[-1].id]) / level
    return shares


def _rules(scores: Iterable[HeuristicScoreRow], names: dict[int, str]) -> Iterable[RuleAccuracy]:
    by_rule: dict[tuple[int, str], list[HeuristicScoreRow]] = defaultdict(list)
    for score in scores:
        if score.metric == "latency" and score.problems:
            by_rule[score.device_id, f"{score.heuristic} v{score.version}"].append(score)
    for (device_id, heuristic), own in by_rule.items():
        problems = sum(score.problems for score in own)
        correct = sum(score.tp + score.tn for score in own)
        won = sum(score.tp + score.fn for score in own)
        majority = max(won, problems - won) / problems
        yield RuleAccuracy(names[device_id], heuristic, problems, correct / problems, majority)
