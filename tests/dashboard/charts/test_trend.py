from datetime import UTC, datetime, timedelta

import pandas as pd

from kswatch.dashboard.charts.trend import MOST_LINES, Annotation, median_trend, spread_by_night

NIGHT = datetime(2026, 1, 5, 2, tzinfo=UTC)


def nights(count: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "started_at": [NIGHT + timedelta(days=night) for night in range(count)],
            "run_id": range(count),
            "median_speedup": [1.2] * count,
            "speedup_p25": [0.9] * count,
            "speedup_p75": [1.5] * count,
            "problems": 10,
            "fused_wins": 6,
        }
    )


def changes(kind: str, count: int) -> list[Annotation]:
    return [Annotation(NIGHT + timedelta(days=day), kind, f"change {day}") for day in range(count)]  # type: ignore[arg-type]


def test_the_band_spans_the_interquartile_range() -> None:
    low, high, median = median_trend(nights(5), "median speedup (×)").data
    assert (low.y[0], high.y[0], median.y[0]) == (0.9, 1.5, 1.2)
    assert high.fill == "tonexty"


def test_a_new_environment_is_a_line_and_a_marker() -> None:
    figure = median_trend(nights(5), "y", changes("environment", 2))
    vertical = [line for line in figure.layout.shapes if line.x0 == line.x1]
    assert len(vertical) == 2
    assert "environment" in [trace.name for trace in figure.data]


def test_many_environments_hide_nothing() -> None:
    figure = median_trend(nights(30), "y", changes("environment", MOST_LINES + 1))
    assert not [line for line in figure.layout.shapes if line.x0 == line.x1]


def test_a_revision_each_night_is_one_trace() -> None:
    figure = median_trend(nights(30), "y", changes("revision", 30))
    assert [len(trace.x) for trace in figure.data if trace.name == "revision"] == [30]


def test_a_commit_subject_is_no_markup() -> None:
    figure = median_trend(nights(2), "y", [Annotation(NIGHT, "revision", "<a href='x'>click</a>")])
    label = next(trace for trace in figure.data if trace.name == "revision").customdata[0]
    assert label == "&lt;a href='x'&gt;click&lt;/a&gt;"


def test_a_night_of_readings_is_its_lowest_median_and_highest() -> None:
    frame = pd.DataFrame({"started_at": [NIGHT] * 3, "temperature_c": [50.0, 70.0, 55.0], "run_id": 1})
    low, high, median = spread_by_night(frame, "temperature_c", "temperature (°C)").data
    assert (low.y[0], median.y[0], high.y[0]) == (50, 55, 70)
    assert list(median.customdata[0]) == [1, 50, 70], "the spread within the run"
