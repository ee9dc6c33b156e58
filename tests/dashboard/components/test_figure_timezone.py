from datetime import UTC, datetime

import pandas as pd

from kswatch.dashboard.charts import heat_map
from kswatch.dashboard.charts.style import tick_texts
from kswatch.dashboard.charts.trend import Annotation, median_trend
from kswatch.dashboard.components.figure_timezone import in_zone

NIGHT = datetime(2026, 7, 5, 23, 30, tzinfo=UTC)
"""In Paris, two hours ahead in summer, already the next day."""


def figure():
    night = {
        "started_at": [NIGHT],
        "run_id": [1],
        "median_speedup": [1.2],
        "speedup_p25": [1.0],
        "speedup_p75": [1.4],
        "problems": [3],
        "fused_wins": [2],
    }
    return median_trend(pd.DataFrame(night), "median (×)", [Annotation(NIGHT, "environment", "a new driver")])


def test_nights_are_in_the_viewers_zone_and_tooltips_show_utc_too() -> None:
    moved = in_zone(figure(), "Europe/Paris")
    median = next(trace for trace in moved.data if trace.name == "median")
    assert str(median.x[0]).startswith("2026-07-06T01:30")
    assert median.text[0] == "CEST, 23:30 UTC"
    assert "%{text}" in median.hovertemplate
    assert "UTC" not in median.hovertemplate
    assert moved.layout.xaxis.title.text == "night (Europe/Paris)"


def test_the_line_of_a_new_driver_moves_with_its_night() -> None:
    moved = in_zone(figure(), "Europe/Paris")
    (line,) = [shape for shape in moved.layout.shapes if shape.xref == "x"]
    assert str(line.x0) == "2026-07-06 01:30:00"


def test_in_utc_nothing_changes() -> None:
    assert in_zone(figure(), "UTC") == figure()


def test_a_heat_maps_columns_are_nights_in_the_viewers_zone_too() -> None:
    frame = pd.DataFrame({"problem": ["p"], "run_id": [1], "started_at": [NIGHT], "speedup": [1.0]})
    drawn = heat_map.pattern_by_night(frame, "speedup")
    assert list(drawn.data[0].x) == ["2026-07-05 23:30 UTC, run 1"]
    moved = in_zone(drawn, "Europe/Paris")
    assert list(moved.data[0].x) == ["2026-07-06 01:30 CEST, 23:30 UTC, run 1"]
    assert list(moved.layout.xaxis.tickvals) == list(moved.data[0].x)
    assert list(moved.layout.xaxis.ticktext) == ["07-06"]
    assert moved.layout.xaxis.title.text == "night (Europe/Paris)"


def test_nights_of_one_day_are_distinguished_by_the_time() -> None:
    one, other = (f"2026-07-05 {hour}:30 UTC, run {hour}" for hour in (19, 20))
    assert tick_texts([one, "2026-07-06 02:00 UTC, run 3"]) == ["07-05", "07-06"]
    assert tick_texts([one, other]) == ["07-05 19:30", "07-05 20:30"]
