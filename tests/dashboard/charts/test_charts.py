from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from kswatch.dashboard.charts import distribution, energy, heat_map, pattern_history, pattern_night, roofline
from kswatch.dashboard.charts import heuristic_scores as scores
from kswatch.dashboard.charts import pattern_shape as shape
from kswatch.dashboard.charts import run_diff as differences
from kswatch.dashboard.charts.palette import IMPLEMENTATION_COLOURS
from kswatch.dashboard.charts.style import MAX_TICKS, change_axis, log_ticks, night_axis, plain

NIGHT = datetime(2026, 1, 5, 2, tzinfo=UTC)
MARKUP = "<b>bold</b> <a href='x'>link</a>"


def ratios(values: list[float], problem: str = "6,64,64,1") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "problem": [f"{problem} {index}" for index in range(len(values))],
            "family": ["d=1", "a=1", "both>1"] * (len(values) // 3) + ["d=1"] * (len(values) % 3),
            "h": 0.01,
            "d": 2,
            "bc": 4096,
            "best_baseline": "bmm",
            "speedup": values,
            "speedup_low": [value * 0.9 for value in values],
            "speedup_high": [value * 1.1 for value in values],
        }
    )


def by_night(problems: int, nights: int) -> pd.DataFrame:
    rows = [
        (f"p{problem}", night + 1, NIGHT + timedelta(days=night), 2.0 ** (problem % 5 - 2))
        for problem in range(problems)
        for night in range(nights)
    ]
    return pd.DataFrame(rows, columns=["problem", "run_id", "started_at", "speedup"])


def test_the_last_step_of_an_ecdf_is_all_problems() -> None:
    line = distribution.ecdf(ratios([2.0, 0.5, 1.5, np.nan]), "speedup (×)").data[0]
    assert list(line.x) == [0.5, 1.5, 2.0]
    assert line.y[-1] == 100


def test_an_ecdf_split_by_family_shows_each_familys_median() -> None:
    frame = ratios([1.0, 2.0, 3.0, 1.2, 2.2, 3.2])
    names = [line.name for line in distribution.ecdf(frame, "speedup (×)", "family").data]
    assert names == ["a=1 (median 2.10×)", "both&gt;1 (median 3.10×)", "d=1 (median 1.10×)"]


def test_sorted_ratios_have_a_dot_a_problem_in_the_colour_of_its_best_baseline() -> None:
    frame = ratios([2.0, 0.5, 1.1, np.nan]).assign(best_baseline=["bmm", "csr", "bmm", None])
    by_name = {trace.name: trace for trace in distribution.sorted_ratios(frame, "speedup (×)").data}
    assert set(by_name) == {"over bmm (2)", "over csr (1)"}
    bmm = by_name["over bmm (2)"]
    assert (list(bmm.x), list(bmm.y), list(bmm.ids)) == ([2, 3], [1.1, 2.0], ["2", "0"])
    assert bmm.marker.color == IMPLEMENTATION_COLOURS["bmm"]
    assert list(bmm.error_y.array) == pytest.approx([0.11, 0.2])


def test_a_heat_map_of_changes_has_the_most_improved_on_top_and_saturates_at_20_per_cent() -> None:
    frame = by_night(3, 2).assign(change=[0.0, 0.3, 0.0, -0.5, 0.0, 0.01])
    image = heat_map.change_by_night(frame, "faster than its level by").data[0]
    assert list(image.y) == ["p0", "p2", "p1"]
    assert (image.zmin, image.zmax) == (-0.2, 0.2)
    assert image.customdata[-1][-1] == pytest.approx(-0.5)


def test_a_heat_map_shows_at_most_120_patterns_and_90_nights() -> None:
    image = heat_map.pattern_by_night(by_night(150, 100), "speedup").data[0]
    assert image.z.shape == (120, 90)


def test_a_heat_map_has_the_fastest_pattern_on_top() -> None:
    image = heat_map.pattern_by_night(by_night(5, 3), "speedup").data[0]
    assert list(image.y) == ["p4", "p3", "p2", "p1", "p0"]


def test_two_runs_of_one_date_are_two_columns() -> None:
    frame = by_night(2, 2)
    frame["started_at"] = NIGHT
    assert len(heat_map.pattern_by_night(frame, "speedup").data[0].x) == 2


def test_a_pattern_without_a_figure_last_night_keeps_its_row() -> None:
    frame = by_night(2, 3)
    frame.loc[(frame["problem"] == "p0") & (frame["run_id"] == 3), "speedup"] = np.nan
    image = heat_map.pattern_by_night(frame, "speedup").data[0]
    assert set(image.y) == {"p0", "p1"}
    assert np.isnan(image.z[list(image.y).index("p0"), -1])


def test_every_family_has_a_colour_and_a_symbol() -> None:
    traces = shape.ratio_by_shape(ratios([1.0] * 6), "h", "speedup (×)").data
    assert (
        len({trace.marker.color for trace in traces}) == len({trace.marker.symbol for trace in traces}) == 3
    )


def test_implementations_keep_their_colour_whatever_else_is_drawn() -> None:
    frame = pd.DataFrame(
        {
            "started_at": [NIGHT] * 2,
            "run_id": [1, 1],
            "implementation": ["csr", "fused"],
            "latency_ms": [2.0, 1.0],
            "value_low": [1.9, 0.9],
            "value_high": [2.2, np.nan],
        }
    )
    lines = pattern_history.implementations_by_night(frame, "latency_ms", "time (ms)").data
    assert {line.name: line.line.color for line in lines} == {
        "fused": IMPLEMENTATION_COLOURS["fused"],
        "csr": IMPLEMENTATION_COLOURS["csr"],
    }
    assert [line.error_y.array[0] for line in lines if line.name == "csr"] == [pytest.approx(0.2)]


def test_a_single_night_gets_an_axis_of_days() -> None:
    figure = distribution.ecdf(ratios([1.0]), "x")
    night_axis(figure, [NIGHT])
    first, last = figure.layout.xaxis.range
    assert last - first == timedelta(days=2)


def test_more_heuristics_than_colours_are_all_drawn_and_distinguishable() -> None:
    frame = pd.DataFrame(
        [(f"rule {rule} v1", NIGHT, 1, 0.1) for rule in range(9)],
        columns=["heuristic", "started_at", "run_id", "regret"],
    )
    lines = scores.figure_by_night(frame, "regret", "rule 3 v1").data
    assert len({(line.line.color, line.line.dash) for line in lines}) == 9


def test_a_confusion_matrix_shows_its_four_counts() -> None:
    figure = scores.confusion(tp=3, fp=4, fn=2, tn=1)
    shown = {(a.y, a.x): a.text for a in figure.layout.annotations}
    assert shown["fused", "baseline"] == "<b>4</b><br>40%"
    assert shown["baseline", "fused"] == "<b>2</b><br>20%"


def test_an_error_map_distinguishes_outcomes_by_colour_and_symbol() -> None:
    frame = ratios([1.0] * 4).assign(outcome=[name for name, _, _ in shape.OUTCOMES])
    traces = shape.error_map(frame).data
    assert len({(trace.marker.color, trace.marker.symbol) for trace in traces}) == 4


def test_power_starts_at_zero_and_energy_is_logarithmic() -> None:
    frame = pd.DataFrame(
        {"implementation": ["fused", "bmm"], "power_w": [400.0, 410.0], "energy_mj": [1.0, 90]}
    )
    assert energy.spread_by_implementation(frame, "power_w", "power (W)").layout.xaxis.rangemode == "tozero"
    assert energy.spread_by_implementation(frame, "energy_mj", "mJ", log=True).layout.xaxis.type == "log"


@pytest.mark.parametrize("values", [[0.3, 8.0], [1.0, 1.01], [1e-4, 1e6], [5.0], []])
def test_logarithmic_ticks_are_few_and_there(values: list[float]) -> None:
    assert 1 <= len(log_ticks(values)) <= MAX_TICKS


@pytest.mark.parametrize(
    ("changes", "texts"),
    [
        ([0.031, -0.02], ["-4 %", "-3 %", "-2 %", "-1 %", "0", "+1 %", "+2 %", "+3 %", "+4 %"]),
        ([0.5, -0.1], ["-80 %", "-60 %", "-40 %", "-20 %", "0", "+20 %", "+40 %", "+60 %", "+80 %"]),
    ],
)
def test_ratios_near_1_are_labelled_with_their_changes(changes: list[float], texts: list[str]) -> None:
    axis = change_axis(changes)
    assert axis["ticktext"] == texts
    assert axis["type"] == "log"


def test_a_change_of_more_than_80_per_cent_is_labelled_as_a_ratio() -> None:
    assert all(text.endswith("×") for text in change_axis([3.0])["ticktext"])


def test_no_chart_reads_text_of_the_store_as_markup() -> None:
    frame = ratios([1.0, 2.0, 3.0], problem=MARKUP)
    figures = [
        distribution.ecdf(frame, "x"),
        shape.ratio_by_shape(frame, "h", "y"),
        heat_map.pattern_by_night(by_night(2, 2).replace("p0", MARKUP), "speedup"),
    ]
    for figure in figures:
        assert "<a href" not in figure.to_json().replace("\\u003c", "<")
    assert plain(MARKUP).startswith("&lt;b&gt;")


def cells_of(*implementations: str) -> pd.DataFrame:
    count = len(implementations)
    return pd.DataFrame(
        {
            "implementation": implementations,
            "problem": [f"p{place}" for place in range(count)],
            "mode": "cold",
            "intensity": [10.0] * count,
            "gflops": [100.0] * count,
            "gflops_low": [99.0] * count,
            "gflops_high": [101.0] * count,
        }
    )


def test_the_roof_is_memory_below_its_ridge_and_arithmetic_above() -> None:
    figure = roofline.roofline(cells_of("fused", "bmm"), bytes_per_s=2e10, flops_per_s=1.5e11)
    roof = figure.data[-1]
    assert roof.y[0] == pytest.approx(2e10 * roof.x[0] / 1e12)
    assert roof.y[-1] == pytest.approx(0.15)
    assert "50% of the roof" not in figure.data[0].customdata[0][3]
    assert "67% of the roof" in figure.data[0].customdata[0][3]


def test_without_a_canary_there_is_no_roof() -> None:
    figure = roofline.roofline(cells_of("fused"), None, None)
    assert [trace.name for trace in figure.data] == ["fused"]


def test_a_point_has_the_id_of_its_row() -> None:
    frame = cells_of("bmm", "fused", "bmm")
    figure = roofline.roofline(frame, None, None)
    assert {trace.name: list(trace.ids) for trace in figure.data} == {"fused": ["1"], "bmm": ["0", "2"]}


def test_significant_changes_are_drawn_over_the_others_and_counted() -> None:
    frame = cells_of("fused", "bmm", "csr").assign(
        before=[1.0, 2.0, 3.0],
        change=[0.2, -0.1, 0.0],
        change_low=0.0,
        change_high=0.0,
        outcome=["worse", "better", "no significant difference"],
    )
    names = [trace.name for trace in differences.change_by_size(frame, "time (ms)").data]
    assert names == ["no significant difference (1)", "better (1)", "worse (1)"]


def test_the_predictions_of_a_rule_have_a_row_of_their_own_below_the_winner() -> None:
    frame = pd.DataFrame(
        {
            "run_id": 7,
            "started_at": NIGHT,
            "heuristic": ["one v1", "two v1"],
            "outcome": "correct: fused",
            "predicted": "fused",
            "fastest": "fused",
        }
    )
    figure = pattern_history.predictions_by_night(frame)
    predictions, winner = figure.data
    assert len(set(predictions.ids)) == 2  # Plotly draws only the first of equal ids
    assert {one.split()[0] for one in predictions.ids} == {"7"}
    assert winner.marker.color == (IMPLEMENTATION_COLOURS["fused"],)
    assert figure.layout.yaxis.categoryarray[-1] == pattern_history.WINNER_ROW


def test_cold_and_hot_of_an_implementation_share_its_colour_and_not_its_symbol() -> None:
    frame = pd.DataFrame(
        {
            "implementation": ["fused", "fused"],
            "mode": ["cold", "hot"],
            "latency_ms": [2.0, 1.0],
            "latency_low_ms": [1.9, 0.9],
            "latency_high_ms": [2.1, np.nan],
        }
    )
    cold, hot = pattern_night.cold_and_hot(frame).data
    assert cold.marker.color == hot.marker.color == (IMPLEMENTATION_COLOURS["fused"],)
    assert cold.marker.symbol != hot.marker.symbol


def test_the_chosen_heuristic_is_drawn_over_the_others_with_the_majority_beside() -> None:
    frame = pd.DataFrame(
        {
            "run_id": [1, 1],
            "started_at": NIGHT,
            "heuristic": ["one v1", "two v1"],
            "accuracy": [0.5, 0.7],
            "majority": 0.6,
        }
    )
    lines = {line.name: line for line in scores.figure_by_night(frame, "accuracy", "two v1").data}
    assert lines["two v1"].line.width > lines["one v1"].line.width
    assert list(lines["majority rate"].y) == [60]


def test_a_sweep_marks_the_threshold_of_the_rule() -> None:
    frame = pd.DataFrame(
        {"limit": [0.01, 0.1], "accuracy": [0.5, 0.6], "balanced_accuracy": 0.5, "problems": 9}
    )
    figure = scores.threshold_sweep(frame, "h", limit=0.02, majority=0.55)
    vertical = [line for line in figure.layout.shapes if line.x0 == line.x1]
    assert [line.x0 for line in vertical] == [0.02]
