"""What the static overview tells, read from the store without Streamlit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from kswatch.dashboard.data.device_runs import DeviceRuns
from kswatch.dashboard.data.run_sources import SOURCES
from kswatch.dashboard.formatting.labels import device_names
from kswatch.db.alerts.lifecycle import LIVE
from kswatch.db.queries import basic as queries
from kswatch.db.queries import by_run_ids as queries_of_runs
from kswatch.db.queries import progress_and_news as page_queries
from kswatch.db.queries import verdict_changes as queries_changes
from kswatch.db.queries.basic import AlertRow, DeviceRow, EnvironmentChange, RunRow, VerdictRow
from kswatch.db.queries.heuristics import HeuristicScoreRow, heuristic_scores
from kswatch.db.store import Store

NIGHTS = 90
MOST_RUNS_READ = 400
"""Of a device, to find the nights of one suite among."""
MOST_CHANGES = 30
MOST_ALERTS = 30


@dataclass(frozen=True)
class Line:
    """A headline over the nights: medians, the oldest first, of the newest run's metric and problems."""

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

    lines: tuple[Line, ...]
    canaries: dict[str, float]
    """Of the newest run, as shares of their own median."""
    environment_changes: tuple[EnvironmentChange, ...]


@dataclass(frozen=True)
class Rule:
    """A heuristic in one run, all precisions and layouts together, beside the majority rate."""

    device_name: str
    heuristic: str
    problems: int
    accuracy: float
    majority: float


@dataclass(frozen=True)
class Overview:
    """All that the page tells."""

    store_name: str
    now: datetime
    devices: tuple[DeviceFacts, ...]
    alerts: tuple[AlertRow, ...]
    verdict_counts: dict[str, int]
    """Series with history enough to be judged by, in the newest runs."""
    too_new: int
    changes: tuple[VerdictRow, ...]
    rules: tuple[Rule, ...]

    def name_of(self, device_id: int) -> str:
        """A device's name for people."""
        return next((one.name for one in self.devices if one.device.id == device_id), f"device {device_id}")


def read_overview(store: Store, now: datetime) -> Overview:
    """The overview of a store, the devices with measured runs first."""
    known = queries.devices(store)
    names = device_names(known)
    groups = page_queries.run_groups(store)
    found = [_device(store, device, names[device.id], groups) for device in known]
    devices = sorted(filter(None, found), key=lambda one: SOURCES.index(one.source))
    newest = [one.newest.id for one in devices]
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
        changes=tuple(queries_changes.changes(store, newest, MOST_CHANGES)),
        rules=tuple(
            _rules(heuristic_scores(store, run_ids=newest), {one.device.id: one.name for one in devices})
        ),
    )


def _device(
    store: Store, device: DeviceRow, name: str, groups: Sequence[page_queries.RunGroup]
) -> DeviceFacts | None:
    own = [group for group in groups if group.device_id == device.id]
    source = next((one for one in SOURCES if any(map(one.holds, own))), None)
    if source is None:
        return None
    suite = max(filter(source.holds, own), key=lambda group: group.newest_run_id).suite
    ended = queries.runs(
        store,
        device_id=device.id,
        kinds=source.kinds or None,
        origins=(source.origin,),
        states=("finished", "interrupted"),
        limit=MOST_RUNS_READ,
    )
    runs = tuple(run for run in reversed(ended) if run.suite == suite and not run.excluded)[-NIGHTS:]
    moved = len(runs) > 1 and runs[-1].environment_id != runs[-2].environment_id
    changes = queries.environment_changes(store, runs[-2].id, runs[-1].id) if moved else []
    return DeviceFacts(
        device, name, source, runs, tuple(_lines(store, runs)), _canaries(store, runs), tuple(changes)
    )


def _lines(store: Store, runs: Sequence[RunRow]) -> Iterable[Line]:
    rows = queries_of_runs.summaries_of_runs(store, [run.id for run in runs])
    by_key: dict[tuple[str, str, str], list[queries.SummaryRow]] = defaultdict(list)
    for row in rows:
        by_key[row.metric, row.precision, row.layout].append(row)
    for (metric, precision, layout), own in sorted(by_key.items(), key=lambda item: _order(item[0])):
        newest = own[-1]
        if newest.run_id != runs[-1].id or newest.median_speedup is None:
            continue
        medians = tuple(row.median_speedup for row in own if row.median_speedup is not None)
        yield Line(metric, precision, layout, medians, newest.fused_wins, newest.problems, newest.left_out)


def _order(key: tuple[str, str, str]) -> tuple[object, ...]:
    metric, precision, layout = key
    return (metric != "latency", precision != "fp32", precision, layout)


def _canaries(store: Store, runs: Sequence[RunRow]) -> dict[str, float]:
    rates: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in queries_of_runs.canaries_of_runs(store, [run.id for run in runs]):
        rates[f"{row.name} {row.precision}"][row.run_id].append(row.rate)
    shares = {}
    for canary, by_run in rates.items():
        level = median(rate for own in by_run.values() for rate in own)
        if runs[-1].id in by_run and level:
            shares[canary] = median(by_run[runs[-1].id]) / level
    return shares


def _rules(scores: Iterable[HeuristicScoreRow], names: dict[int, str]) -> Iterable[Rule]:
    by_rule: dict[tuple[int, str], list[HeuristicScoreRow]] = defaultdict(list)
    for score in scores:
        if score.metric == "latency" and score.problems:
            by_rule[score.device_id, f"{score.heuristic} v{score.version}"].append(score)
    for (device_id, heuristic), own in by_rule.items():
        problems = sum(score.problems for score in own)
        right = sum(score.tp + score.tn for score in own)
        won = sum(score.tp + score.fn for score in own)
        majority = max(won, problems - won) / problems
        yield Rule(names[device_id], heuristic, problems, right / problems, majority)
