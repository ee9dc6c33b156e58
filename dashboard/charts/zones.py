"""Charts by night in the viewer's own zone; figures are drawn in UTC and moved at the very end."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts.style import NIGHT_AXIS

UTC_NAME = "UTC"
_TIME_IN_UTC = re.compile(r"%\{x\|[^}]*\} UTC")
_TIME_HERE = "%{x|%Y-%m-%d %H:%M} %{text}"


def in_zone(figure: go.Figure, zone: str) -> go.Figure:
    """The figure with its nights in this zone; tooltips tell UTC as well. Other charts stay as they are.

    Args:
        figure: changed in place.
        zone: as Europe/Paris.
    """
    axis = figure.layout.xaxis
    if zone == UTC_NAME or axis.title.text != NIGHT_AXIS or axis.type == "category":
        return figure
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
    axis.title.text = NIGHT_AXIS.replace(UTC_NAME, zone)
    return figure


def _moved(times: Iterable[object], zone: str) -> list[pd.Timestamp]:
    found = pd.DatetimeIndex(pd.to_datetime(list(times), utc=True))
    return list(found.tz_convert(zone).tz_localize(None))
