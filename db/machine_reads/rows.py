"""Runs, alerts and series as plain values: what `--json` prints is what the JSON API answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from sqlalchemy import ColumnElement, select

from kswatch.db.alerts.lifecycle import LIVE
from kswatch.db.backend.codecs import join_tail, unpack_points
from kswatch.db.backend.mapping import PROBLEM_COLUMNS, key_first, matching
from kswatch.db.bisections.stored import suspects_of
from kswatch.db.metrics import METRIC_BY_NAME
from kswatch.db.queries.basic import AlertRow, DeviceRow, RunRow, alerts, devices, find_device, requests, runs
from kswatch.db.records import FACTOR, LAYOUTS, PRECISIONS, RunKind
from kswatch.db.schema.tables import Cell, Problem, SeriesTail
from kswatch.db.store import Store
from kswatch.errors import UsageError

_RUN_FIELDS: tuple[str, ...] = ("kind", "origin", "state", "excluded", "started_at", "finished_at", "seconds")
_RUN_FIELDS += ("harness_seconds", "cells", "planned_cells", "by_status", "environment", "revision")


def run_rows(
    store: Store, device: str | None = None, kinds: Sequence[str] | None = None, limit: int | None = None
) -> list[dict[str, object]]:
    """The runs, the newest first, with the glossary's words as keys.

    Raises:
        UsageError: no such device or kind.
    """
    for kind in kinds or ():
        _check_known("kind", kind, KINDS)
    device_id = find_device(store, device).id if device is not None else None
    left_s = seconds_left(store)
    return [_run_row(one, left_s.get(one.id)) for one in runs(store, device_id, kinds=kinds, limit=limit)]


KINDS: tuple[str, ...] = get_args(RunKind)


def _check_known(name: str, value: str | None, known: Sequence[str]) -> None:
    """Refuse a value that no row has: an empty list would look like a store without data.

    Raises:
        UsageError: it is unknown.
    """
    if value is not None and value not in known:
        raise UsageError(f"unknown {name} {value[:60]!r}; choose from {', '.join(known)}")


def seconds_left(store: Store) -> dict[int, float]:
    """Remaining seconds of requested runs in progress, by run."""
    running = requests(store, states=("running",), limit=None)
    return {one.run_id: one.seconds_left for one in running if one.run_id and one.seconds_left is not None}


def _run_row(run: RunRow, left_s: float | None) -> dict[str, object]:
    names = {"run": run.id, "suite": run.suite, "device": run.device_uuid, "model": run.device_model}
    values = {name: getattr(run, name) for name in _RUN_FIELDS}
    plan = {"request": run.request_id, "seconds_left": left_s, "arguments": run.arguments}
    return {**names, **values, **plan}


def alert_rows(
    store: Store, device: str | None = None, everything: bool = False, limit: int | None = None
) -> list[dict[str, object]]:
    """The live alerts (or all), the newest first.

    Raises:
        UsageError: no such device.
    """
    device_id = find_device(store, device).id if device is not None else None
    known = {one.id: one for one in devices(store)}
    found = alerts(store, None if everything else LIVE, device_id, limit=limit)
    suspects = suspects_of(store)
    return [alert_row(one, known[one.device_id], suspects.get(one.id)) for one in found]


def alert_row(one: AlertRow, device: DeviceRow, suspects: Sequence[str] | None = None) -> dict[str, object]:
    """An alert with its device, with the glossary's words as keys.

    Args:
        one: The alert.
        device: Its device.
        suspects: The result of its bisection: the culprit, then commits that could not be measured; None
            where there is no result.
    """
    left_out = {"id", "device_id", "opened_run_id", "newest_run_id"}
    values = {name: value for name, value in vars(one).items() if name not in left_out}
    run_ids = {"opened_run": one.opened_run_id, "newest_run": one.newest_run_id}
    patterns = {"patterns": one.explanation.get("patterns", [])}
    bisected = {"culprit": suspects[0] if suspects else None, "suspects": list(suspects or ())}
    about = {"alert": one.id, "device": device.uuid, "model": device.model}
    return about | run_ids | values | patterns | bisected


def series_rows(
    store: Store,
    device: str,
    metric: str,
    *,
    pattern: str | None = None,
    batch: int | None = None,
    precision: str | None = None,
    layout: str | None = None,
    implementation: str | None = None,
    limit: int | None = None,
) -> list[dict[str, object]]:
    """The nights of each series of one metric on one device, the newest 400 at most, the oldest first.

    Raises:
        UsageError: no such device, metric, precision or layout, or a pattern that is not `a,b,c,d`.
    """
    _check_known("metric", metric, list(METRIC_BY_NAME))
    _check_known("precision", precision, PRECISIONS)
    _check_known("layout", layout, LAYOUTS)
    found = find_device(store, device)
    names = (Problem.batch, Problem.precision, Problem.layout, Cell.implementation)
    wanted = matching(*zip(names, (batch, precision, layout, implementation), strict=True))
    query = (
        select(*PROBLEM_COLUMNS, Cell.implementation, SeriesTail.points, SeriesTail.older)
        .join_from(SeriesTail, Cell, Cell.id == SeriesTail.cell_id)
        .join(Problem, Problem.id == Cell.problem_id)
        .where(SeriesTail.device_id == found.id, SeriesTail.metric == metric, *wanted, *_is_pattern(pattern))
        .order_by(Problem.id, Cell.id)
        .limit(limit)
    )
    unit = {"device": found.uuid, "model": found.model, "metric": metric}
    return [
        unit | problem.fields | {"implementation": name, "points": _points(join_tail(recent, older))}
        for problem, name, recent, older in store.read(query, lambda *row: key_first(row))
    ]


def _is_pattern(pattern: str | None) -> list[ColumnElement[bool]]:
    if pattern is None:
        return []
    parts = pattern.split(",")
    if len(parts) != 4 or not all(part.isascii() and part.isdecimal() and len(part) < 10 for part in parts):
        raise UsageError(f"pattern {pattern[:60]!r} is no a,b,c,d")
    sides = zip((Problem.a, Problem.b, Problem.c, Problem.d), map(int, parts), strict=True)
    return [Problem.subject == FACTOR, *(column == side for column, side in sides)]


def _points(tail: bytes) -> list[dict[str, object]]:
    return [
        {"run": one.run_id, "value": one.value, "low": one.low, "high": one.high}
        for one in unpack_points(tail)
    ]
