"""Heuristics on the overview: how often each rule names the winner now, beside the majority rate."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from kswatch.dashboard.components import links
from kswatch.dashboard.components.panels import finding, note, show_table
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.device_runs import DeviceRuns
from kswatch.dashboard.formatting.labels import count, share
from kswatch.dashboard.views.heuristics import in_sample_notice as fitted_rules

COLUMNS = (
    "device",
    "heuristic",
    "accuracy (%)",
    "majority rate (%)",
    "balanced (%)",
    "regret (%)",
    "problems",
    "nights",
)
HEIGHT = 330
MOST_ROWS_AT_ONCE = 8


def show_rules(devices: Sequence[DeviceRuns], about: tuple[str, str, str]) -> None:
    """Draw the table of every device's heuristics, the most accurate first.

    Args:
        devices: that have cards.
        about: precision, layout and baselines.
    """
    among = tuple(run_id for one in devices for run_id in one.run_ids)
    newest = tuple(one.newest.id for one in devices)
    precision, layout, baselines = about
    figures = cached_queries.heuristic_nights(newest, "latency", baselines, precision, layout)
    nights = cached_queries.accuracies(among, "latency", precision, layout)
    frames = [_of_device(shown, figures, nights) for shown in devices]
    known = [frame for frame in frames if len(frame)]
    if not known:
        note("No prediction is stored beside an outcome of these runs.")
        links.link("heuristics", "Score today's rules in hindsight", icon=":material/rule:")
        return
    table = pd.concat(known, ignore_index=True)
    best = table.loc[table["accuracy (%)"].idxmax()]
    right, same = (share(best[name] / 100) for name in ("accuracy (%)", "majority rate (%)"))
    problems = count(int(best["problems"]), "problem")
    finding(
        f"The best rule now, {best['heuristic']} on {best['device']}, is right on {right} of {problems}; "
        f"always saying the same, on {same}"
    )
    fitted_rules.tell_fitted({one.device.model for one in devices}, "latency", precision, layout)
    show_table(
        table[list(COLUMNS)],
        height=HEIGHT if len(table) > MOST_ROWS_AT_ONCE else "content",
        column_config={"nights": st.column_config.LineChartColumn("accuracy by night", y_min=0, y_max=100)}
        | {name: st.column_config.NumberColumn(format="%.1f") for name in COLUMNS if "(%)" in name},
    )


def _of_device(shown: DeviceRuns, figures: pd.DataFrame, nights: pd.DataFrame) -> pd.DataFrame:
    newest = figures[figures["run_id"] == shown.newest.id].sort_values("accuracy", ascending=False)
    if newest.empty:
        return newest
    nights = nights[nights["run_id"].isin(shown.run_ids)]
    by_night = nights.dropna().groupby("heuristic")["accuracy"].agg(list).to_dict()
    return pd.DataFrame(
        {
            "device": shown.name,
            "heuristic": newest["heuristic"],
            "accuracy (%)": newest["accuracy"] * 100,
            "majority rate (%)": newest["majority"] * 100,
            "balanced (%)": newest["balanced_accuracy"] * 100,
            "regret (%)": newest["regret"] * 100,
            "problems": newest["problems"],
            "nights": [[value * 100 for value in by_night.get(name, [])] for name in newest["heuristic"]],
        }
    )
