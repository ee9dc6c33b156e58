"""A check as rows for scripts: one object for each judged series, with the glossary's words as keys."""

from __future__ import annotations

from collections.abc import Iterable

from kswatch.ci.check import Judged, Judgement
from kswatch.ci.formats.alert_text import alert_rows
from kswatch.ci.regression.history import Series
from kswatch.ci.regression.verdicts import SeriesVerdict
from kswatch.db.records import ProblemKey


def check_rows(judged: Judged) -> list[dict[str, object]]:
    """Every verdict, on cells and on heuristics, every incorrect result of `fused`, every silence, flat."""
    rows = [row for one in judged.judgements for row in _rows(one)]
    for one in judged.silences:
        rows += [
            {"run": one.alert.newest_run_id} | row
            for row in alert_rows([one.alert], {one.device.id: one.device})
        ]
    return rows


def _rows(judgement: Judgement) -> Iterable[dict[str, object]]:
    run = {
        "run": judgement.run.id,
        "device": judgement.run.device_uuid,
        "model": judgement.run.device_model,
        "kind": judgement.run.kind,
        "origin": judgement.run.origin,
        "revision": judgement.run.revision.commit if judgement.run.revision else None,
    }
    news = {told.alert.id: told.news for told in judgement.alerts}
    incorrect_alert = next((one.alert.id for one in judgement.alerts if one.alert.cause == "incorrect"), None)
    for point in judgement.incorrect:
        told = {"alert": incorrect_alert, "news": news.get(incorrect_alert or 0)}
        cell = _cell(Series(point.cell_id, point.problem, "fused", "relative_error"))
        yield run | cell | _INCORRECT | {"status": point.status, "reason": point.reason} | told
    for verdict in judgement.verdicts:
        alert_id = judgement.alert_of.get((verdict.series.cell_id, verdict.series.metric))
        told = {"alert": alert_id, "news": news.get(alert_id or 0)}
        yield run | _cell(verdict.series) | {"status": "ok"} | _judged(verdict) | told
    for judged in judgement.heuristics:
        told = {"alert": judged.alert_id, "news": news.get(judged.alert_id or 0)}
        said = {name: value for name, value in vars(judged).items() if name not in ("run_id", "alert_id")}
        yield run | said | told


_INCORRECT: dict[str, object] = {"verdict": None, "cause": "incorrect", "confirmed": True}


def _cell(series: Series) -> dict[str, object]:
    return _problem(series.problem) | {"implementation": series.implementation, "metric": series.metric}


def _problem(problem: ProblemKey) -> dict[str, object]:
    return {
        "pattern": problem.pattern,
        "batch": problem.batch,
        "precision": problem.precision,
        "layout": problem.layout,
    }


def _judged(verdict: SeriesVerdict) -> dict[str, object]:
    return {name: value for name, value in vars(verdict).items() if name != "series"}
