"""The points of a chart in a select box, which opens them by keyboard as a click would."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd
import streamlit as st

from kswatch.dashboard.components import timezone


def by_name(
    data: pd.DataFrame,
    name: str,
    on_open: Callable[[str], None] | None,
    on_choose: Callable[[str], None] | None,
) -> None:
    """Draw a button that opens a select box of the chart's points, which is sent only then.

    Args:
        data: of the chart: its runs by `run_id` and `started_at`, or else its problems by their index.
        name: of the chart.
        on_open: opens the chosen point on another page.
        on_choose: shows the chosen point on this page.
    """
    fold = st.popover(
        "Points",
        type="tertiary",
        icon=":material/list:",
        help="choose a point by name instead of by a click",
        on_change="rerun",
        key=f"points_{name}",
    )
    if not fold.open:
        return
    key = f"point_of_{name}"
    names = _names(data)
    with fold:
        chosen = st.selectbox(
            "Point",
            list(names),
            index=None,
            format_func=names.__getitem__,
            placeholder="type to find",
            key=key,
            on_change=partial(_choose, key, on_choose) if on_choose else None,
        )
    if on_open and chosen is not None:
        on_open(chosen)


def _choose(key: str, on_choose: Callable[[str], None]) -> None:
    chosen = st.session_state[key]
    if chosen is not None:
        on_choose(chosen)


def _names(data: pd.DataFrame) -> dict[str, str]:
    """The label of each point: the newest runs first, problems in the order of the chart."""
    if "run_id" in data:
        runs = data.drop_duplicates("run_id").sort_values("run_id", ascending=False)
        pairs = zip(runs["run_id"], runs["started_at"], strict=True)
        return {str(run): f"run {run}, {timezone.local(started)}" for run, started in pairs}
    problems = data.drop_duplicates("problem")["problem"]
    return {str(label): str(problem) for label, problem in problems.items()}
