"""The alert of heuristics that became worse in a night.

It never fails a check: the winning implementation has changed, not the kernel. A kernel that became slower
has an alert of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from kswatch.ci.alerts.update import AlertChange, changes_since
from kswatch.ci.config import CiConfig
from kswatch.ci.regression.heuristic_scores import ScoreHistory, judge_scores, score_key
from kswatch.ci.regression.history import JudgingInputs
from kswatch.db.alerts import lifecycle
from kswatch.db.alerts.lifecycle import LIVE, NewAlert
from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import AlertRow, ScorePoint
from kswatch.db.queries.runs import RunRow
from kswatch.db.records import HeuristicVerdictRecord
from kswatch.db.store import Store

CAUSE = "heuristic"


def judge_heuristics(
    store: Store, inputs: JudgingInputs, config: CiConfig, *, is_newest: bool
) -> tuple[list[HeuristicVerdictRecord], list[AlertChange]]:
    """Judge a run's heuristics and store the verdicts; alerts change with a device's newest night only."""
    run, comparable = inputs.run, inputs.comparable_run_ids()
    alerts = [alert for alert in inputs.alerts if alert.cause == CAUSE]
    scores = queries.score_points(store, [run.id])
    history = _history(store, scores, comparable, alerts, config.noise_runs)
    verdicts = judge_scores(run, scores, history, config)
    changes = _update_alert(store, run, verdicts, history, alerts) if is_newest and verdicts else []
    alert_id = next((change.alert.id for change in changes if change.alert.state in LIVE), None)
    verdicts = [replace(one, alert_id=alert_id) if one.verdict == "slower" else one for one in verdicts]
    store.record_heuristic_verdicts(run.id, verdicts)
    return verdicts, changes


def _history(
    store: Store,
    scores: Sequence[ScorePoint],
    comparable: Sequence[int],
    alerts: Sequence[AlertRow],
    noise_runs: int,
) -> ScoreHistory:
    moved = queries.heuristic_verdicts(store, comparable, verdict="slower")
    alerted = {(one.run_id, _series_of(one)) for one in moved if one.alert_id is not None}
    return ScoreHistory(
        scores=_newest_scores(store, scores, comparable, alerted, noise_runs),
        verdicts=[one for one in moved if one.level is not None],
        accepted={one.id for one in alerts if one.state == "accepted"},
    )


def _newest_scores(
    store: Store,
    scores: Sequence[ScorePoint],
    comparable: Sequence[int],
    alerted: Collection[tuple[int, tuple[str | int, ...]]],
    enough: int,
) -> list[ScorePoint]:
    """Scores of the newest runs, as far back as every series needs to have enough points outside alerts."""
    found: list[ScorePoint] = []
    points = dict.fromkeys(map(_series_of, scores), 0)
    for end in range(len(comparable), 0, -enough):
        part = queries.score_points(store, comparable[max(end - enough, 0) : end])
        found = [*part, *found]
        for one in part:
            series = _series_of(one)
            if series in points and None not in (one.accuracy, one.regret):
                points[series] += (one.run_id, series) not in alerted
        if min(points.values(), default=0) >= enough:
            break
    return found


def _series_of(one: ScorePoint | HeuristicVerdictRecord) -> tuple[str | int, ...]:
    return one.metric, one.precision, one.layout, one.heuristic, one.version


def _update_alert(
    store: Store,
    run: RunRow,
    verdicts: Sequence[HeuristicVerdictRecord],
    history: ScoreHistory,
    alerts: Sequence[AlertRow],
) -> list[AlertChange]:
    worse = sorted(
        (one for one in verdicts if one.verdict == "slower"), key=lambda one: -abs(one.change or 0)
    )
    known = next((one for one in alerts if one.state in LIVE), None)
    if not worse:
        if known is None or known.opened_run_id >= run.id:
            return []
        if known.confirmed:
            lifecycle.record_clean_run(store, known.id, run.id)
        else:
            lifecycle.dismiss(store, known.id, f"not seen again in run {run.id}")
        return changes_since(store, {known.id: known}, [known.id])
    last_night = max((one.run_id for one in history.scores), default=0)
    again = {
        score_key(one) for one in history.verdicts if one.run_id == last_night and one.verdict == "slower"
    }
    new = _new_alert(run, worse, confirmed=any(score_key(one) in again for one in worse))
    if known is None:
        return changes_since(store, {}, [lifecycle.open_alert(store, new)])
    lifecycle.record_recurrence(store, known.id, new)
    return changes_since(store, {known.id: known}, [known.id])


def _new_alert(run: RunRow, worse: Sequence[HeuristicVerdictRecord], confirmed: bool) -> NewAlert:
    first, others = worse[0], len({one.heuristic for one in worse}) - 1
    also = f" (and {others} other heuristic{'s' if others > 1 else ''})" if others else ""
    where = f"{first.precision} {first.layout}, {first.metric}"
    names = ("heuristic", "version", "metric", "precision", "layout", "score", "value", "level", "change")
    rows = [{name: getattr(one, name) for name in names} for one in worse[:20]]
    return NewAlert(
        device_id=run.device_id,
        run_id=run.id,
        verdict="slower",
        cause=CAUSE,
        metric=first.score,
        implementation=first.heuristic,
        title=f"{first.heuristic}{also}: {_movement(first)} in {where}",
        worst_change=first.change,
        explanation={"heuristics": rows},
        confirmed=confirmed,
    )


def _movement(one: HeuristicVerdictRecord) -> str:
    if one.level is None:
        return f"{one.score} {one.value:.3f}"
    if one.score == "regret":
        return f"regret rose from {one.level:.2%} to {one.value:.2%}"
    return f"accuracy fell from {one.level:.3f} to {one.value:.3f}"
