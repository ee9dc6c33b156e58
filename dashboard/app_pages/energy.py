"""Energy: per product, against the best baseline, and the power behind it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import cached_queries
from dashboard.app_pages import marks
from dashboard.app_pages.speedup import trend_title
from dashboard.charts import distribution, trend
from dashboard.charts import energy as energy_charts
from dashboard.filters import Scope, choose_scope
from dashboard.naming import count, problem_labels, ratio
from dashboard.panels import chart, finding, hint, note, show_table

RATIO = "energy of the best baseline over fused (×)"


def show() -> None:
    """Draw the page."""
    scope = choose_scope()
    if scope is None:
        return
    cells = cached_queries.run_measurements(scope.newest.id)
    here = cells[(cells["precision"] == scope.precision) & (cells["layout"] == scope.layout)]
    measured = here.dropna(subset=["energy_mj"])
    if measured.empty:
        _tell_why_empty(scope, here)
        return
    st.warning(
        "Sensors differ in gain from board to board: trends on one device are valid, "
        "a ranking of boards by their sensors is not.",
        icon=":material/warning:",
    )
    _ratios(scope, here, measured)
    _trend(scope)
    _against_time(measured)
    _spread(measured)
    _sources(measured)


def _tell_why_empty(scope: Scope, here: pd.DataFrame) -> None:
    """No energy: the reasons that were stored with the measurements, the most frequent first."""
    finding(f"No energy was measured in run {scope.newest.id} on {scope.device_name}")
    reasons = here["energy_reason"].value_counts()
    if here.empty:
        note("The run holds no cell of this precision and layout; choose another above.")
        return
    if reasons.empty:
        note(f"None of its {count(len(here), 'cell')} stored why.")
    else:
        note("What the cells say, instead of a zero that would be wrong:")
        _show_reasons(reasons)
    hint("`kswatch doctor` says which energy counters this machine can read, and how to make them readable.")


def _show_reasons(reasons: pd.Series) -> None:
    show_table(
        reasons.rename_axis("reason").reset_index(name="cells"),
        column_config={"reason": st.column_config.TextColumn(width="large")},
    )


def _ratios(scope: Scope, here: pd.DataFrame, measured: pd.DataFrame) -> None:
    frame = cached_queries.run_comparisons(scope.newest.id, "energy", scope.baselines)
    frame = frame[(frame["precision"] == scope.precision) & (frame["layout"] == scope.layout)]
    known = frame["speedup"].dropna()
    problems = here["problem_id"].nunique()
    if known.empty:
        finding("Energy was measured, but no problem has it for fused and every contender")
        show_table(frame["left_out"].value_counts().reset_index(name="problems"))
        return
    wins = int((known > 1).sum())
    finding(
        f"Fused is the more frugal on {wins} of {len(known)} problems; "
        f"the median ratio is {ratio(known.median())}"
    )
    note(
        f"Run {scope.newest.id}: {scope.title}. Energy of {measured['problem_id'].nunique()} "
        f"of {count(problems, 'problem')}; more than 1× means that fused needs less."
    )
    frame = frame.assign(problem=problem_labels(frame))
    left, right = st.columns(2)
    data = frame[["problem", "speedup", "speedup_low", "speedup_high", "best_baseline", "left_out"]]
    with left:
        chart(distribution.ecdf(frame, RATIO), data, "energy_ecdf", "Share of problems by energy ratio.")
    with right:
        chart(distribution.histogram(frame, RATIO), data, "energy_histogram", "Problems by energy ratio.")


def _trend(scope: Scope) -> None:
    frame = cached_queries.summaries(scope.device.id, "energy", scope.baselines)
    wanted = (frame["precision"] == scope.precision) & (frame["layout"] == scope.layout)
    frame = frame[wanted & frame["run_id"].isin(scope.run_ids)]
    if frame["median_speedup"].notna().sum() < 2:
        return
    finding(trend_title(frame, "energy ratio"))
    chart(
        trend.median_trend(frame, "median energy ratio (×)", marks.of_runs(scope.runs, scope.device.id)),
        frame,
        "energy_trend",
        "Median energy ratio by night with the band of the middle half of the problems.",
    )


def _against_time(measured: pd.DataFrame) -> None:
    timed = measured.dropna(subset=["latency_ms"])
    if timed.empty:
        return
    finding("Energy against time: towards the lower left is better in both")
    timed = timed.assign(problem=problem_labels(timed))
    chart(
        energy_charts.energy_against_time(timed),
        timed[["problem", "implementation", "latency_ms", "energy_mj", "power_w"]],
        "energy_against_time",
        "Energy per product against time per product, one point a cell.",
    )


def _spread(measured: pd.DataFrame) -> None:
    finding("Energy per product and power, by implementation over the problems")
    powered = measured.dropna(subset=["power_w"])
    places = st.columns(2) if len(powered) else [st.container()]
    data = measured[["pattern", "batch", "implementation", "energy_mj", "energy_low_mj", "energy_high_mj"]]
    with places[0]:
        chart(
            energy_charts.spread_by_implementation(
                measured, "energy_mj", "energy per product (mJ)", log=True
            ),
            data,
            "energy_by_implementation",
            "Energy per product of each implementation over the problems.",
        )
    if powered.empty:
        note("No power was stored with these measurements.")
        return
    with places[1]:
        chart(
            energy_charts.spread_by_implementation(powered, "power_w", "power (W)"),
            powered[["pattern", "batch", "implementation", "power_w"]],
            "power_by_implementation",
            "Power of each implementation over the problems.",
        )


def _sources(measured: pd.DataFrame) -> None:
    sources = measured.groupby(["energy_source", "energy_scope"], dropna=False).size()
    told = [
        f"{source if source == source else 'unnamed source'} "
        f"({scope if scope == scope else 'scope not stored'}): {count(int(cells), 'cell')}"
        for (source, scope), cells in sources.items()
    ]
    note("Read from " + "; ".join(told) + ".")
