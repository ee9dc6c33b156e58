"""Judging stored nights again, after the procedure has changed: verdicts are replaced, alerts stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kswatch.ci.config import CiConfig
from kswatch.ci.regression.history import read_judging_inputs
from kswatch.ci.regression.verdicts import judge_series
from kswatch.ci.speed_of_light import judge_speed_of_light
from kswatch.db.queries.basic import runs, verdicts
from kswatch.db.store import Store


@dataclass(frozen=True)
class RejudgedRun:
    """The difference between the new verdicts on one night and the stored ones."""

    run: int
    device: str
    series: int
    changed: dict[str, int]
    """The number of changed verdicts, by change as in `same -> slower`; `none -> same` for a new one."""


def rejudge(
    store: Store,
    config: CiConfig,
    device_id: int | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> list[RejudgedRun]:
    """Judge every nightly run again, the oldest first, each against the runs before it.

    A series stays with the alert that it belonged to, so that a bad night stays out of the level.

    Args:
        store: holds the nights.
        config: the limits.
        device_id: only this device's; of all measured devices unless given.
        progress: receives the number of judged nights, and of all nights.
    """
    rows = runs(
        store,
        device_id=device_id,
        kinds=("nightly",),
        origins=("measured",) if device_id is None else ("measured", "simulated"),
        states=("finished", "interrupted"),
        limit=None,
        excluded=False,
    )
    found = []
    for done, run in enumerate(sorted(rows, key=lambda row: row.id), 1):
        before = {(row.cell_id, row.metric): (row.verdict, row.alert_id) for row in verdicts(store, run.id)}
        judged, changes = [], Counter[str]()
        inputs = read_judging_inputs(store, run, config)
        verdicts_now = judge_series(inputs, config)
        for verdict in verdicts_now:
            was, alert_id = before.get(verdict.key, ("none", None))
            judged.append(replace(verdict, alert_id=alert_id))
            changes[f"{was} -> {verdict.verdict}"] += was != verdict.verdict
        store.record_verdicts(run.id, judged)
        judge_speed_of_light(store, inputs, verdicts_now, config)
        changed = {change: count for change, count in sorted(changes.items()) if count}
        found.append(RejudgedRun(run.id, run.device_model, len(judged), changed))
        progress(done, len(rows))
    return found


def format_rejudged(found: Sequence[RejudgedRun]) -> str:
    """A line for each night with changed verdicts, and the number of the others."""
    if not found:
        return "no stored nights to judge again; nights of a simulated device are judged only with --device"
    lines = [
        f"run {one.run} on {one.device}: "
        + ", ".join(f"{count} {change}" for change, count in one.changed.items())
        for one in found
        if one.changed
    ]
    same = sum(not one.changed for one in found)
    series, changed = sum(one.series for one in found), sum(sum(one.changed.values()) for one in found)
    return "\n".join(
        [
            *lines,
            f"{len(found)} nights judged again, {same} of them with the same verdicts; {changed} of {series} "
            "verdicts changed, no alert changed",
        ]
    )
