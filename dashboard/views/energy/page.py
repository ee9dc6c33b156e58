"""Energy: per product, against the best baseline, and the power behind it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd
import streamlit as st

from kswatch.dashboard.charts import distribution, trend
from kswatch.dashboard.charts import energy as energy_charts
from kswatch.dashboard.components import links
from kswatch.dashboard.components.filters import Scope, choose_scope
from kswatch.dashboard.components.panels import chart, finding, hint, note, show_table
from kswatch.dashboard.data import annotations as marks
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data import rates
from kswatch.dashboard.formatting.labels import count, problem_labels, ratio
from kswatch.dashboard.views.energy import sources as energy_sources
from kswatch.dashboard.views.speedup import trend_title

FIGURES: dict[str, tuple[str, bool]] = {
    "energy_mj": ("energy per product (mJ)", True),
    "energy_per_gflop_mj": ("energy per GFLOP of the product (mJ)", True),
    "power_w": ("power (W)", False),
    "energy_delay": ("energy–delay product (mJ·ms)", True),
}
"""Columns with their titles, and whether their axis is logarithmic."""

COLUMNS = (
    *("energy_mj", "energy_low_mj", "energy_high_mj", "latency_ms", "power_w", "second_power_w"),
    *("energy_source", "energy_scope", "energy_tick_ms", "energy_reason", "flags"),
)

RATIO = "energy of the best baseline over fused (×)"


def show() -> None:
    """Draw the page."""
    scope = choose_scope()
    if scope is None:
        return
    here = cached_queries.run_cells(scope.newest.id, COLUMNS, scope.precision, scope.layout)
    measured = here.dropna(subset=["energy_mj"])
    if measured.empty:
        _tell_why_empty(scope, here)
        return
    st.warning(
        "Sensors differ in gain from board to board: trends on one device are valid, "
        "a ranking of boards by their sensors is not.",
        icon=":material/warning:",
    )
    measured = rates.with_energy_figures(measured.assign(problem=problem_labels(measured)))
    measured = measured.reset_index(drop=True)
    opens = partial(links.open_problem, measured, device=scope.device.uuid)
    _ratios(scope, here, measured)
    _trend(scope)
    _spreads(measured)
    _against_time(measured, opens)
    energy_sources.show_sources(measured, opens)


def _tell_why_empty(scope: Scope, here: pd.DataFrame) -> None:
    """No energy: the reasons that were stored with the measurements, the most frequent first."""
    finding(f"No energy was measured in run {scope.newest.id} on {scope.name}")
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
    frame = cached_queries.run_comparisons(scope.newest.id, "energy", *scope.about)
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
        f"of {count(problems, 'problem')}{_left_out(frame)}; more than 1× means that fused needs less."
    )
    frame = frame.assign(problem=problem_labels(frame)).reset_index(drop=True)
    left, right = st.columns(2)
    data = frame[["problem", "speedup", "speedup_low", "speedup_high", "best_baseline", "left_out"]]
    with left:
        chart(
            distribution.ecdf(frame, RATIO),
            data,
            "energy_ecdf",
            "Share of problems by energy ratio.",
            opens=partial(links.open_problem, frame, device=scope.device.uuid),
        )
    with right:
        chart(distribution.histogram(frame, RATIO), data, "energy_histogram", "Problems by energy ratio.")


def _left_out(frame: pd.DataFrame) -> str:
    """How many problems have no ratio, and the most frequent reason."""
    reasons = frame["left_out"].value_counts()
    if reasons.empty:
        return ""
    return f", {int(reasons.sum()):,} of them not compared (mostly: {reasons.index[0]})"


def _trend(scope: Scope) -> None:
    frame = cached_queries.summaries(scope.run_ids, "energy", scope.baselines, scope.precision, scope.layout)
    if frame["median_speedup"].notna().sum() < 2:
        return
    finding(trend_title(frame, "energy ratio"))
    chart(
        trend.median_trend(frame, "median energy ratio (×)", marks.of_runs(scope.runs, scope.device.id)),
        frame,
        "energy_trend",
        "Median energy ratio by night with the band of the middle half of the problems.",
        opens=links.open_run,
    )


def _against_time(measured: pd.DataFrame, opens: Callable[[str], None]) -> None:
    timed = measured.dropna(subset=["latency_ms"])
    if timed.empty:
        return
    finding("Energy against time: towards the lower left is better in both")
    columns = ["latency_ms", "energy_mj", "energy_low_mj", "energy_high_mj", "power_w"]
    chart(
        energy_charts.energy_against_time(timed),
        timed[["problem", "implementation", *columns]],
        "energy_against_time",
        "Energy per product against time per product, one point a cell.",
        opens=opens,
    )


def _spreads(measured: pd.DataFrame) -> None:
    """A box chart for each figure that is known, two in a row."""
    finding("What each implementation takes, over the problems")
    known = [name for name in FIGURES if measured[name].notna().any()]
    for row in range(0, len(known), 2):
        for name, place in zip(known[row : row + 2], st.columns(2), strict=False):
            title, log = FIGURES[name]
            told = measured.dropna(subset=[name])
            with place:
                chart(
                    energy_charts.spread_by_implementation(told, name, title, log=log),
                    told[["problem", "implementation", name]],
                    f"{name}_by_implementation",
                    f"{title} of each implementation over the problems.",
                )
    if "power_w" not in known:
        note("No power was stored with these measurements.")
