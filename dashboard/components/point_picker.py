"""The points of a chart by name: the way of the keyboard to what a click on a point does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd
import streamlit as st

from kswatch.dashboard.components import timezone as viewer


def by_name(
    data: pd.DataFrame,
    name: str,
    opens: Callable[[str], None] | None,
    chooses: Callable[[str], None] | None,
) -> None:
    """Draw a button that folds out a box of the chart's points; nothing of it is sent before that.

    Args:
        data: of the chart: its runs by `run_id` and `started_at`, or else its problems by their index.
        name: of the chart.
        opens: leaves the page for what was chosen.
        chooses: the same, for a choice that stays on the page.
    """
    fold = st.popover(
        "Points",
        type="tertiary",
        icon=":material/list:",
        help="choose a point by its name instead of by a click",
        on_change="rerun",
        key=f"points_{name}",
    )
    if not fold.open:
        return
    key = f"point_of_{name}"
    names = _names(data)
    with fold:
        chosen = st.selectbox(
            "Which point",
            list(names),
            index=None,
            format_func=names.__getitem__,
            placeholder="type to find",
            key=key,
            on_change=partial(_choose, key, chooses) if chooses else None,
        )
    if opens and chosen is not None:
        opens(chosen)


def _choose(key: str, chooses: Callable[[str], None]) -> None:
    chosen = st.session_state[key]
    if chosen is not None:
        chooses(chosen)


def _names(data: pd.DataFrame) -> dict[str, str]:
    """What each target of the chart is called: the newest runs first, problems in the chart's order."""
    if "run_id" in data:
        runs = data.drop_duplicates("run_id").sort_values("run_id", ascending=False)
        pairs = zip(runs["run_id"], runs["started_at"], strict=True)
        return {str(run): f"run {run}, {viewer.local(started)}" for run, started in pairs}
    problems = data.drop_duplicates("problem")["problem"]
    return {str(label): str(problem) for label, problem in problems.items()}
