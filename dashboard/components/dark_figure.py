"""Figures on a dark page."""

from __future__ import annotations

import re
from typing import Any

import plotly.graph_objects as go

from kswatch.dashboard.charts.figure_cache import SharedFigure, cached_figure
from kswatch.dashboard.charts.palette import DARK, channels

_DARK_TEXTS = DARK | {f"rgba({channels(light)},": f"rgba({channels(dark)}," for light, dark in DARK.items()}
_LIGHT_TEXT = re.compile("|".join(map(re.escape, _DARK_TEXTS)))


@cached_figure
def in_dark(shared: go.Figure) -> go.Figure:
    """The figure in the shades of a dark page."""
    data = [_darkened(trace.to_plotly_json()) for trace in shared.data]
    return SharedFigure(data, _darkened(shared.layout.to_plotly_json()))


def _darkened(part: Any) -> Any:  # noqa: ANN401  (of a figure, as Plotly nests them)
    if isinstance(part, str):
        return _LIGHT_TEXT.sub(lambda found: _DARK_TEXTS[found[0]], part)
    if isinstance(part, dict):
        return {name: _darkened(value) for name, value in part.items()}
    if isinstance(part, list | tuple):
        return [_darkened(value) for value in part]
    return part
