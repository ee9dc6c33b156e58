"""The state of a store in Prometheus' text format (prometheus.io, exposition formats, version 0.0.4)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from kswatch.db.alerts.lifecycle import LIVE
from kswatch.db.queries.basic import devices, runs, summaries
from kswatch.db.queries.speed_of_light import speed_of_light
from kswatch.db.schema.tables import Alert, Request
from kswatch.db.store import Store

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True)
class Gauge:
    """One value of a metric, with its labels."""

    name: str
    labels: Mapping[str, str]
    value: float


HELP = {
    "kswatch_last_night_age_seconds": "Age of the newest finished nightly run of a device.",
    "kswatch_alerts": "Live alerts of a device.",
    "kswatch_requests": "Requests that wait or run.",
    "kswatch_median_speedup": "Median speedup of fused over the best baseline in the newest night.",
    "kswatch_floor_ratio": "Median speed of light of fused in the newest night: floor over latency.",
}


def prometheus_text(store: Store, now: datetime) -> str:
    """Ages of nights, alerts, the queue, median speedups and floor ratios, by device."""
    gauges = [*_nights(store, now), *_alerts(store), *_queue(store)]
    return exposition(gauges, HELP)


def exposition(gauges: Iterable[Gauge], help_of: Mapping[str, str]) -> str:
    """The gauges as text, those of one name together; values that are not finite are left out."""
    by_name: dict[str, list[Gauge]] = {name: [] for name in help_of}
    for gauge in gauges:
        by_name.setdefault(gauge.name, []).append(gauge)
    lines = []
    for name, found in by_name.items():
        lines += [f"# HELP {name} {_escaped(help_of.get(name, ''))}", f"# TYPE {name} gauge"]
        lines += [_line(one) for one in found if math.isfinite(one.value)]
    return "\n".join(lines) + "\n"


def _line(gauge: Gauge) -> str:
    labels = labels_text(gauge.labels)
    return f"{gauge.name}{{{labels}}} {float(gauge.value)!r}" if labels else f"{gauge.name} {gauge.value!r}"


def labels_text(labels: Mapping[str, str]) -> str:
    """Labels with their values, quoted, as they stand between braces."""
    return ",".join(f'{label_name(name)}="{_quoted(value)}"' for name, value in labels.items())


def label_name(text: str) -> str:
    """The text as a name of a label or metric: letters, digits and underscores."""
    name = re.sub(r"[^a-zA-Z0-9_]", "_", text)
    return name if _NAME.fullmatch(name) else f"_{name}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"").replace("\r", " ")


def _nights(store: Store, now: datetime) -> Iterator[Gauge]:
    for device in devices(store):
        (newest,) = runs(store, device.id, kinds=("nightly",), states=("finished",), limit=1) or (None,)
        if newest is None or newest.finished_at is None:
            continue
        of = {"device": device.uuid, "model": device.model, "origin": newest.origin}
        yield Gauge("kswatch_last_night_age_seconds", of, (now - newest.finished_at).total_seconds())
        for row in summaries(store, newest.id, metric="latency", baselines=None, kinds=None, origins=None):
            if row.median_speedup is not None:
                about = {"precision": row.precision, "layout": row.layout, "baselines": row.baselines}
                yield Gauge("kswatch_median_speedup", of | about, row.median_speedup)
        for light in speed_of_light(store, newest.id):
            if light.statistic == "median":
                about = {"precision": light.precision, "layout": light.layout}
                yield Gauge("kswatch_floor_ratio", of | about, light.value)


def _alerts(store: Store) -> Iterator[Gauge]:
    uuids = {one.id: one.uuid for one in devices(store)}
    query = (
        select(Alert.device_id, Alert.state, Alert.confirmed, func.count())
        .where(Alert.state.in_(LIVE))
        .group_by(Alert.device_id, Alert.state, Alert.confirmed)
        .order_by(Alert.device_id, Alert.state, Alert.confirmed)
    )
    for device_id, state, confirmed, number in store.read(query, lambda *row: row):
        labels = {"device": uuids[device_id], "state": state, "confirmed": "true" if confirmed else "false"}
        yield Gauge("kswatch_alerts", labels, number)


def _queue(store: Store) -> Iterator[Gauge]:
    states = ("queued", "running")
    query = select(Request.state, func.count()).where(Request.state.in_(states)).group_by(Request.state)
    counts = dict(store.read(query, lambda state, number: (state, number)))
    for state in states:
        yield Gauge("kswatch_requests", {"state": state}, counts.get(state, 0))
