"""The data of the static overview, read from the store without Streamlit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from kswatch.dashboard.data.baseline_history import runs_since_change
from kswatch.dashboard.data.canary_shares import CanaryShare, canary_shares
from kswatch.dashboard.data.change_summary import change_summary, night_label
from kswatch.dashboard.data.device_runs import SOURCES, DeviceRuns, preferred_history
from kswatch.dashboard.formatting.labels import device_names
from kswatch.db.alerts.lifecycle import LIVE
from kswatch.db.queries import basic as queries
from kswatch.db.queries import page_queries
from kswatch.db.queries import verdicts as queries_changes
from kswatch.db.queries.baseline_sets import RunSets, run_sets
from kswatch.db.queries.basic import AlertRow, DeviceRow, EnvironmentChange, RunRow, SummaryRow, VerdictRow
from kswatch.db.queries.heuristics import HeuristicScoreRow, heuristic_scores
from kswatch.db.queries.speed_of_light import SpeedOfLightSummary, speed_of_light, summarised
from kswatch.db.statistics import PredictionScore
from kswatch.db.store import Store
from kswatch.services import JudgementLimits

NIGHTS = 90
MOST_CHANGES = 30
MOST_ALERTS = 30


@dataclass(frozen=True)
class DeviceFacts(DeviceRuns):
    """A device on the overview."""

    trends: tuple[tuple[SummaryRow, ...], ...]
    """The headlines of each metric, precision and layout of the newest run, the oldest first."""
    baselines: str
    """The set that the headlines are against."""
    sets: RunSets
    """Of the newest run."""
    speed_of_light: tuple[SpeedOfLightSummary, ...]
    """Of the newest run, by precision and layout."""
    canaries: list[CanaryShare]
    environment_changes: tuple[EnvironmentChange, ...]


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
    rules: dict[tuple[str, str], PredictionScore]
    """By device and heuristic, over all precisions and layouts of the newest run."""
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
        rules=_rules(heuristic_scores(store, newest), names),
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
    sets = run_sets(store, [run.id for run in runs])
    own = sets.get(runs[-1].id, RunSets())
    return DeviceFacts(
        device,
        name,
        source,
        runs,
        trends=_trends(store, runs, sets, own.headline),
        baselines=own.headline,
        sets=own,
        speed_of_light=tuple(summarised(speed_of_light(store, runs[-1].id))),
        canaries=_canaries(store, runs),
        environment_changes=tuple(changes),
    )


def _trends(
    store: Store, runs: Sequence[RunRow], sets: Mapping[int, RunSets], baselines: str
) -> tuple[tuple[SummaryRow, ...], ...]:
    """The headlines of the nights since the set of baselines last changed."""
    by_key: dict[tuple[object, ...], list[SummaryRow]] = defaultdict(list)
    since = runs_since_change(sets, [run.id for run in runs], baselines)
    for row in queries.summaries(store, since, baselines=baselines):
        if row.median_speedup is not None:
            key = (row.metric != "latency", row.precision != "fp32", row.precision, row.layout)
            by_key[key].append(row)
    ordered = (tuple(own) for _, own in sorted(by_key.items()))
    return tuple(own for own in ordered if own[-1].run_id == runs[-1].id)


def _canaries(store: Store, runs: Sequence[RunRow]) -> list[CanaryShare]:
    rows = queries.canaries(store, [run.id for run in runs])
    return canary_shares(((row.run_id, f"{row.name} {row.precision}", row.rate) for row in rows), runs[-1].id)


def _rules(
    scores: Iterable[HeuristicScoreRow], names: dict[int, str]
) -> dict[tuple[str, str], PredictionScore]:
    by_rule: dict[tuple[str, str], list[HeuristicScoreRow]] = defaultdict(list)
    for score in scores:
        if score.metric == "latency" and score.problems:
            by_rule[names[score.device_id], f"{score.heuristic} v{score.version}"].append(score)
    found = {}
    for rule, own in by_rule.items():
        tp, fp, fn, tn = (sum(getattr(score, cell) for score in own) for cell in ("tp", "fp", "fn", "tn"))
        regret = sum(score.problems * (score.regret or 0.0) for score in own)
        found[rule] = PredictionScore.of_counts(tp, fp, fn, tn, regret)
    return found
