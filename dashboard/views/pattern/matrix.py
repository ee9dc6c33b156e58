"""The same pattern in every precision, layout and batch of one run, as a table of speedups."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from kswatch.dashboard.charts.palette import BAD, GOOD, translucent
from kswatch.dashboard.components import url_state
from kswatch.dashboard.components.filters import Scope
from kswatch.dashboard.components.panels import hint
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import WORDS, ratio
from kswatch.kernels.pattern import Pattern

_KEY = "precision_matrix"
STRONGEST = 0.45
"""Opacity of the colour behind a speedup of 2 or of 1/2, so that the text stays readable."""


def show_matrix(scope: Scope, pattern: Pattern) -> None:
    """Draw the table; choosing a cell shows its problem. Nothing where there is no other problem."""
    found = cached_queries.run_comparisons(scope.newest.id, baselines=scope.baselines)
    own = found[(found["pattern"] == str(pattern)) & found["speedup"].notna()]
    if len(own) < 2:
        return
    columns = own[["layout", "batch"]].drop_duplicates().sort_values(["layout", "batch"])
    places = {
        f"{WORDS.get(layout, layout)}, ×{batch:,}": (layout, batch)
        for layout, batch in columns.itertuples(index=False, name=None)
    }
    table = pd.DataFrame(
        {"precision": sorted(own["precision"].unique(), key=lambda one: (one != "fp32", one))}
    )
    for title, (layout, batch) in places.items():
        cells = own[(own["layout"] == layout) & (own["batch"] == batch)].set_index("precision")["speedup"]
        table[title] = table["precision"].map(cells)
    st.dataframe(
        table.style.format(ratio, subset=list(places)).map(_background, subset=list(places)),
        hide_index=True,
        placeholder="–",
        key=_KEY,
        on_select=partial(_choose, table, places),
        selection_mode="single-cell",
    )
    hint("Speedup over the best baseline in every precision, layout and batch. Choose one to show it.")


def _background(speedup: float) -> str:
    if speedup != speedup:
        return ""
    strength = min(abs(float(np.log2(speedup))), 1.0) * STRONGEST
    return f"background-color: {translucent(GOOD if speedup > 1 else BAD, round(strength, 3))}"


def _choose(table: pd.DataFrame, places: dict[str, tuple[Any, Any]]) -> None:
    for row, title in st.session_state[_KEY].selection.cells:
        if title in places:
            layout, batch = places[title]
            chosen = {"precision": table["precision"].iloc[row], "layout": layout, "batch": str(batch)}
            for name, value in chosen.items():
                url_state.remember(name, value)
