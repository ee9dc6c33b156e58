"""Charts by night in the viewer's time zone; figures are drawn in UTC and converted last."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pandas as pd
import plotly.graph_objects as go

from kswatch.dashboard.charts.figure_cache import SharedFigure, cached_figure
from kswatch.dashboard.charts.style import NIGHT_AXIS, NIGHT_FORMAT, tick_texts
from kswatch.dashboard.components.timezone import UTC_NAME

_TIME_IN_UTC = re.compile(r"%\{x\|[^}]*\} UTC")
_TIME_HERE = "%{x|%Y-%m-%d %H:%M} %{text}"


def in_zone(figure: go.Figure, zone: str) -> go.Figure:
    """The figure with its nights in this zone, as Europe/Paris; tooltips show UTC as well.

    A chart that is not by night is returned as it is.
    """
    if zone == UTC_NAME or figure.layout.xaxis.title.text != NIGHT_AXIS:
        return figure
    return _in_other_zone(figure, zone)


@cached_figure
def _in_other_zone(shared: go.Figure, zone: str) -> go.Figure:
    figure = SharedFigure(shared)  # a copy: the figure in UTC is shared
    axis = figure.layout.xaxis
    axis.title.text = NIGHT_AXIS.replace(UTC_NAME, zone)
    if axis.type == "category":
        return _columns_in_zone(figure, ZoneInfo(zone))
    for trace in figure.data:
        utc = pd.DatetimeIndex(pd.to_datetime(list(trace.x), utc=True))
        local = utc.tz_convert(zone)
        trace.x = local.tz_localize(None)
        if trace.hovertemplate:
            trace.text = [f"{here:%Z}, {there:%H:%M} UTC" for here, there in zip(local, utc, strict=True)]
            trace.hovertemplate = _TIME_IN_UTC.sub(_TIME_HERE, trace.hovertemplate)
    for shape in figure.layout.shapes:
        if shape.xref == "x":
            shape.x0, shape.x1 = _moved((shape.x0, shape.x1), zone)
    if axis.range:
        axis.range = _moved(axis.range, zone)
    return figure


def _columns_in_zone(figure: go.Figure, zone: ZoneInfo) -> go.Figure:
    """The same for nights on a category axis, whose names begin with `NIGHT_FORMAT`."""
    axis = figure.layout.xaxis
    names = {name: _column_in_zone(name, zone) for trace in figure.data for name in trace.x}
    for trace in figure.data:
        trace.x = [names[name] for name in trace.x]
    axis.tickvals = [names[name] for name in axis.tickvals]
    axis.ticktext = tick_texts(list(axis.tickvals))
    return figure


def _column_in_zone(name: str, zone: ZoneInfo) -> str:
    night, comma, run = name.partition(",")
    utc = datetime.strptime(night, NIGHT_FORMAT).replace(tzinfo=UTC)
    return f"{utc.astimezone(zone):%Y-%m-%d %H:%M %Z}, {utc:%H:%M} UTC{comma}{run}"


def _moved(times: Iterable[object], zone: str) -> list[pd.Timestamp]:
    found = pd.DatetimeIndex(pd.to_datetime(list(times), utc=True))
    return list(found.tz_convert(zone).tz_localize(None))
