"""A chart is drawn once for equal data, and the shared figure equals a freshly drawn one."""

import json
from datetime import UTC, datetime

import pandas as pd
import plotly.graph_objects as go
import plotly.io

from kswatch.dashboard.charts.figure_cache import cached_figure
from kswatch.dashboard.charts.style import NIGHT_AXIS, blank
from kswatch.dashboard.components.figure_timezone import in_zone

drawings = 0


@cached_figure
def line(frame: pd.DataFrame, title: str) -> go.Figure:
    global drawings
    drawings += 1
    figure = blank(NIGHT_AXIS, title)
    return figure.add_trace(go.Scatter(x=frame["night"], y=frame["value"]))


def frame(value: float) -> pd.DataFrame:
    return pd.DataFrame({"night": [datetime(2026, 7, 5, 23, 30, tzinfo=UTC)], "value": [value]})


def test_equal_data_in_another_frame_is_not_drawn_again() -> None:
    before = drawings
    assert line(frame(1.0), "first (×)") is line(frame(1.0), "first (×)")
    assert drawings == before + 1


def test_another_value_or_title_is_another_figure() -> None:
    first = line(frame(1.0), "second (×)")
    assert line(frame(2.0), "second (×)").data[0].y[0] == 2.0
    assert line(frame(1.0), "second (ms)").layout.yaxis.title.text == "second (ms)"
    assert first.data[0].y[0] == 1.0


def test_a_shared_figure_serialises_like_a_plain_one() -> None:
    shared = line(frame(float("nan")), "third (×)")
    plain = go.Figure(shared)
    assert json.loads(plotly.io.to_json(shared.to_dict(), validate=False)) == json.loads(plain.to_json())


def test_moving_nights_to_a_zone_leaves_the_shared_figure_in_utc() -> None:
    shared = line(frame(1.0), "fourth (×)")
    assert str(in_zone(shared, "Europe/Paris").data[0].x[0]).startswith("2026-07-06T01:30")
    assert str(shared.data[0].x[0]).startswith("2026-07-05T23:30")
    assert in_zone(shared, "Europe/Paris") is in_zone(shared, "Europe/Paris")


@cached_figure
def bars(names: list[str]) -> go.Figure:
    return blank("share (%)", "").add_trace(go.Bar(x=[1.0] * len(names), y=names, orientation="h"))


def test_a_shared_figure_has_room_for_its_longest_name() -> None:
    short, long = (bars(["fused", "n" * letters]).layout.margin for letters in (6, 14))
    assert long.l - short.l >= 8 * 7
    assert short.t == long.t == blank("", "").layout.margin.t  # one trace has no legend
