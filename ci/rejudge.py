"""Judging the stored nights anew, after the rule has changed: verdicts are replaced, alerts stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kswatch.ci.check import record_of
from kswatch.ci.config import CiConfig
from kswatch.ci.regression.history import gather
from kswatch.ci.regression.verdicts import verdicts_of
from kswatch.db.queries.basic import run, runs, verdicts
from kswatch.db.store import Store


@dataclass(frozen=True)
class Rejudged:
    """What the present rule says of one night, beside what was stored."""

    run: int
    device: str
    series: int
    changed: dict[str, int]
    """How many verdicts changed, as `same -> slower`; `none -> same` where there was none."""


def rejudge(
    store: Store,
    config: CiConfig,
    device_id: int | None = None,
    told: Callable[[int, int], None] = lambda *_: None,
) -> list[Rejudged]:
    """Judge every nightly run anew, the oldest first, each against what came before it.

    A series stays with the alert that it belonged to, so that what was a bad night stays out of the level.

    Args:
        store: whose nights.
        config: the limits.
        device_id: only this device's; of all measured devices unless given.
        told: hears how many nights are judged, and how many there are.
    """
    origins = ("measured",) if device_id is None else ("measured", "simulated")
    states = ("finished", "interrupted")
    rows = runs(
        store,
        device_id=device_id,
        kinds=("nightly",),
        origins=origins,
        states=states,
        limit=None,
        excluded=False,
    )
    found = []
    for done, one in enumerate(sorted(rows, key=lambda row: row.id), 1):
        found.append(_rejudge(store, one.id, config))
        told(done, len(rows))
    return found


def _rejudge(store: Store, run_id: int, config: CiConfig) -> Rejudged:
    before = {(row.cell_id, row.metric): row for row in verdicts(store, run_id)}
    judged = run(store, run_id)
    now = verdicts_of(gather(store, judged, config), config)
    alert_of = {key: row.alert_id for key, row in before.items() if row.alert_id is not None}
    store.record_verdicts(run_id, [record_of(one, alert_of) for one in now])
    words = Counter(
        f"{before[key].verdict if key in before else 'none'} -> {one.verdict}"
        for one in now
        if (key := (one.series.cell_id, one.series.metric)) not in before
        or before[key].verdict != one.verdict
    )
    return Rejudged(run_id, judged.device_model, len(now), dict(sorted(words.items())))


def rejudged_text(found: Sequence[Rejudged]) -> str:
    """A line per night whose verdicts changed, and how many did not."""
    if not found:
        return "no stored nights to judge anew; those of a simulated device are judged when --device names it"
    lines = [
        f"run {one.run} on {one.device}: "
        + ", ".join(f"{count} {word}" for word, count in one.changed.items())
        for one in found
        if one.changed
    ]
    same = sum(not one.changed for one in found)
    series, changed = sum(one.series for one in found), sum(sum(one.changed.values()) for one in found)
    return "\n".join(
        [
            *lines,
            f"{len(found)} nights judged anew, {same} of them with the same verdicts; {changed} of {series} "
            "verdicts changed, no alert moved",
        ]
    )
