"""Heuristics on the overview: the accuracy of each rule and the majority rate."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from kswatch.dashboard.components import links
from kswatch.dashboard.components.filters import ProblemFilters
from kswatch.dashboard.components.panels import TITLES, finding, note, show_table
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.device_runs import DeviceRuns
from kswatch.dashboard.formatting.labels import best_rule
from kswatch.dashboard.views.heuristics import in_sample_notice

SHARES = ["accuracy", "majority", "balanced_accuracy", "regret"]
COLUMNS = ["device", "heuristic", *SHARES, "problems", "nights"]
HERE_TITLES = TITLES | {"balanced_accuracy": "balanced (%)", "regret": "regret (%)"}
HEIGHT = 330


def show_rules(devices: Sequence[DeviceRuns], about: ProblemFilters) -> None:
    """Draw the table of every device's heuristics, the most accurate first."""
    among = tuple(run_id for shown in devices for run_id in shown.run_ids)
    newest = tuple(shown.newest.id for shown in devices)
    precision, layout = about["precision"], about["layout"]
    figures = cached_queries.heuristic_nights(newest, "latency", **about)
    nights = cached_queries.accuracies(among, "latency", precision, layout)
    frames = [_of_device(shown, figures, nights) for shown in devices]
    known = [frame for frame in frames if len(frame)]
    if not known:
        note("These runs store no predictions.")
        links.link("heuristics", "Score current rules on these runs", icon=":material/rule:")
        return
    table = pd.concat(known, ignore_index=True)
    best = table.loc[(table["accuracy"] - table["majority"]).idxmax()]
    name = f"{best['heuristic']} on {best['device']}"
    finding(best_rule(name, best["accuracy"], best["majority"], int(best["problems"])))
    models = {shown.device.model for shown in devices}
    in_sample_notice.show_in_sample_notice(models, "latency", precision, layout)
    one_decimal = st.column_config.NumberColumn(format="%.1f")
    show_table(
        table.assign(**table[SHARES] * 100)[COLUMNS].rename(columns=HERE_TITLES),
        HEIGHT,
        column_config={"nights": st.column_config.LineChartColumn("accuracy by night", y_min=0, y_max=100)}
        | {HERE_TITLES[name]: one_decimal for name in SHARES},
    )


def _of_device(shown: DeviceRuns, figures: pd.DataFrame, nights: pd.DataFrame) -> pd.DataFrame:
    newest = figures[figures["run_id"] == shown.newest.id].sort_values("accuracy", ascending=False)
    if newest.empty:
        return newest
    nights = nights[nights["run_id"].isin(shown.run_ids)]
    by_night = nights.dropna().groupby("heuristic")["accuracy"].agg(list).to_dict()
    lines = [[value * 100 for value in by_night.get(name, [])] for name in newest["heuristic"]]
    return newest.assign(device=shown.name, nights=lines)
