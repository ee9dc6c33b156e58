"""One alert for a night on which heuristics got worse: told, explained, ended by itself.

It never fails a check: what changed is which implementation wins, and the rule that says so, not the
kernel. A kernel that got slower has an alert of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from kswatch.ci.alerts.update import ToldAlert, as_told
from kswatch.ci.config import CiConfig
from kswatch.ci.regression.heuristic_scores import History, judge_scores, seen_before, series_key
from kswatch.db.alerts.lifecycle import LIVE, NewAlert, bad_night, dismiss, good_night, open_alert
from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import AlertRow, ScorePoint
from kswatch.db.queries.runs import RunRow
from kswatch.db.records import HeuristicVerdictRecord
from kswatch.db.store import Store

CAUSE = "heuristic"


def judge_heuristics(
    store: Store, run: RunRow, comparable: Sequence[int], config: CiConfig, *, is_newest: bool
) -> tuple[list[HeuristicVerdictRecord], list[ToldAlert]]:
    """Judge a run's heuristics and store the verdicts; alerts move with the newest night only.

    Args:
        store: holds the scores.
        run: the judged run.
        comparable: ids of comparable runs before it, the oldest first.
        config: the rule's limits.
        is_newest: whether this is the device's newest night.
    """
    alerts = [one for one in queries.alerts(store, device_id=run.device_id) if one.cause == CAUSE]
    scores = queries.score_points(store, [run.id])
    history = _history(store, scores, comparable, alerts, config.noise_runs)
    verdicts = judge_scores(run, scores, history, config)
    told: list[ToldAlert] = []
    if is_newest and verdicts:
        told = _raise(store, run, verdicts, history, alerts)
    worse_in = next((one.alert.id for one in told if one.alert.state in LIVE), None)
    verdicts = [replace(one, alert_id=worse_in) if one.verdict == "slower" else one for one in verdicts]
    store.record_heuristic_verdicts(run.id, verdicts)
    return verdicts, told


def _history(
    store: Store,
    scores: Sequence[ScorePoint],
    comparable: Sequence[int],
    alerts: Sequence[AlertRow],
    noise_runs: int,
) -> History:
    moved = queries.heuristic_verdicts(store, run_ids=comparable, verdict="slower")
    told = {(one.run_id, _series_of(one)) for one in moved if one.alert_id is not None}
    return History(
        scores=_newest_scores(store, scores, comparable, told, noise_runs),
        verdicts=[one for one in moved if one.level is not None],
        accepted={one.id for one in alerts if one.state == "accepted"},
    )


def _newest_scores(
    store: Store,
    scores: Sequence[ScorePoint],
    comparable: Sequence[int],
    told: Collection[tuple[int, tuple[str | int, ...]]],
    enough: int,
) -> list[ScorePoint]:
    """Scores of the newest of these runs: as many that every series has enough points of no alert."""
    found: list[ScorePoint] = []
    points = dict.fromkeys(map(_series_of, scores), 0)
    for end in range(len(comparable), 0, -enough):
        part = queries.score_points(store, comparable[max(end - enough, 0) : end])
        found = [*part, *found]
        for one in part:
            series = _series_of(one)
            if series in points and None not in (one.accuracy, one.regret):
                points[series] += (one.run_id, series) not in told
        if min(points.values(), default=0) >= enough:
            break
    return found


def _series_of(one: ScorePoint | HeuristicVerdictRecord) -> tuple[str | int, ...]:
    return one.metric, one.precision, one.layout, one.heuristic, one.version


def _raise(
    store: Store,
    run: RunRow,
    verdicts: Sequence[HeuristicVerdictRecord],
    history: History,
    alerts: Sequence[AlertRow],
) -> list[ToldAlert]:
    worse = sorted(
        (one for one in verdicts if one.verdict == "slower"), key=lambda one: -abs(one.change or 0)
    )
    known = next((one for one in alerts if one.state in LIVE), None)
    if not worse:
        return [] if known is None else _recover(store, run, known)
    last_night = max((one.run_id for one in history.scores), default=0)
    again = seen_before(history.verdicts, last_night)
    new = _new_alert(run, worse, confirmed=any(series_key(one) in again for one in worse))
    if known is None:
        return [as_told(None, queries.alert(store, open_alert(store, new)))]
    bad_night(store, known.id, new)
    return [as_told(known, queries.alert(store, known.id))]


def _recover(store: Store, run: RunRow, known: AlertRow) -> list[ToldAlert]:
    if known.opened_run_id >= run.id:
        return []
    if not known.confirmed:
        dismiss(store, known.id, f"not seen again in run {run.id}")
    else:
        good_night(store, known.id, run.id)
    return [as_told(known, queries.alert(store, known.id))]


def _new_alert(run: RunRow, worse: Sequence[HeuristicVerdictRecord], confirmed: bool) -> NewAlert:
    first, others = worse[0], len({one.heuristic for one in worse}) - 1
    also = f" (and {others} other heuristic{'s' if others > 1 else ''})" if others else ""
    where = f"{first.precision} {first.layout}, {first.metric}"
    return NewAlert(
        device_id=run.device_id,
        run_id=run.id,
        verdict="slower",
        cause=CAUSE,
        metric=first.score,
        implementation=first.heuristic,
        title=f"{first.heuristic}{also}: {_movement(first)} in {where}",
        worst_change=first.change,
        explanation={"heuristics": [_row(one) for one in worse[:20]]},
        confirmed=confirmed,
    )


def _movement(one: HeuristicVerdictRecord) -> str:
    if one.level is None:
        return f"{one.score} {one.value:.3f}"
    if one.score == "regret":
        return f"regret rose from {one.level:.2%} to {one.value:.2%}"
    return f"accuracy fell from {one.level:.3f} to {one.value:.3f}"


def _row(one: HeuristicVerdictRecord) -> dict[str, object]:
    names = ("heuristic", "version", "metric", "precision", "layout", "score", "value", "level", "change")
    return {name: getattr(one, name) for name in names}
