"""Pieces that every page is made of: charts with their data, badges, findings, words for emptiness."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from kswatch.dashboard.charts.timezones import in_zone
from kswatch.dashboard.components import point_picker as point_list
from kswatch.dashboard.components import timezone as viewer
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.markdown_escape import literal
from kswatch.errors import KswatchError

BADGES: dict[str, tuple[str, str, str]] = {
    "simulated": ("simulated", ":material/science:", "violet"),
    "imported": ("imported", ":material/download:", "blue"),
}

ROW_HEIGHT = 35
"""Pixels of a row of a table."""

STATUS_COLOURS = {
    "ok": "green",
    "not_converged": "orange",
    "incorrect": "red",
    "implausible": "red",
    "crashed": "red",
}


def chart(
    figure: go.Figure,
    data: pd.DataFrame,
    name: str,
    says: str,
    opens: Callable[[str], None] | None = None,
    chooses: Callable[[str], None] | None = None,
) -> None:
    """A figure, as wide as its place, with its data as CSV and itself as PNG.

    Args:
        figure: drawn in the page's own light or dark colours, its nights in UTC.
        data: what is drawn, for the download and as `point_list.by_name` needs it.
        name: of the downloaded files, and the widget's key.
        says: the chart in words, for those who cannot see it.
        opens: leaves the page for what was clicked; is given the first word of that point's entry of its
            trace's `ids`, which must differ within a trace: Plotly draws only the first of equal ones.
        chooses: the same, for a click that stays on the page.
    """
    config = {
        "displaylogo": False,
        "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
        "toImageButtonOptions": {"format": "png", "filename": name, "scale": 2},
    }
    key = f"chart_{name}"
    figure = in_zone(figure, viewer.zone_name())
    clicks: dict[str, Any] = {}
    if opens:
        clicks = {"on_select": "rerun", "selection_mode": "points"}
    elif chooses:
        clicks = {"on_select": partial(_choose, figure, key, chooses), "selection_mode": "points"}
    with st.container(gap=None):
        state = st.plotly_chart(figure, key=key, config=config, alt=says, **clicks)
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            _csv_button(data, name)
            if opens or chooses:
                point_list.by_name(data, name, opens, chooses)
                st.caption("Click a point to open it." if opens else "Click a point to look into its night.")
    target = clicked(figure, state) if opens else None
    if opens and target is not None:
        opens(target)


def _csv_button(data: pd.DataFrame, name: str) -> None:
    st.download_button(
        "CSV",
        data=lambda: data.to_csv(index=False).encode(),
        file_name=f"{name}.csv",
        mime="text/csv",
        key=f"csv_{name}",
        on_click="ignore",
        type="tertiary",
        icon=":material/download:",
        help="the figures of this chart",
    )


def _choose(figure: go.Figure, key: str, chooses: Callable[[str], None]) -> None:
    target = clicked(figure, st.session_state[key])
    if target is not None:
        chooses(target)


def clicked(figure: go.Figure, state: Any) -> str | None:  # noqa: ANN401  (Streamlit's own state)
    """What the clicked point of a figure stands for, by its trace's `ids`; None without one."""
    points = state.selection.points if state else []
    if not points:
        return None
    trace = figure.data[points[0]["curve_number"]]
    place = points[0]["point_index"]
    return None if trace.ids is None or place >= len(trace.ids) else str(trace.ids[place]).partition(" ")[0]


def finding(text: str) -> None:
    """A title that says what is seen; `text` may hold text from the store."""
    st.subheader(literal(text), anchor=False)


def note(text: str, on_hover: str | None = None) -> None:
    """A line of small print; both may hold text from the store."""
    st.caption(literal(text), help=None if on_hover is None else literal(on_hover))


def hint(markdown: str) -> None:
    """A line of small print that this program says, commands in back quotes; never text from the store."""
    st.caption(markdown)


def origin_badge(origin: str) -> None:
    """A badge on what was not measured here; nothing on what was."""
    if origin in BADGES:
        label, icon, colour = BADGES[origin]
        st.badge(label, icon=icon, color=colour)  # type: ignore[arg-type]


def empty(what: str, command: Sequence[str], after: str = "") -> None:
    """Says what is missing and the exact command that brings it.

    Args:
        what: may hold text from the store.
        command: word by word; shown quoted for a shell.
        after: more to say, as `hint`.
    """
    with st.container(border=True):
        st.markdown(f"**{literal(what)}**")
        st.markdown("Run this, then reload the page:")
        st.code(shlex.join(command), language="bash")
        if after:
            hint(after)


def show_table(frame: pd.DataFrame, **options: Any) -> Any:  # noqa: ANN401  (Streamlit's own options)
    """A table as wide as the page; what is not known is a dash. Texts in it are never markup."""
    formats = {name: st.column_config.NumberColumn(format="%.4g") for name in frame.select_dtypes("float")}
    columns = formats | options.pop("column_config", {})
    return st.dataframe(frame, hide_index=True, placeholder="–", column_config=columns, **options)


def choose_row(frame: pd.DataFrame, key: str, what_for: str, height: int = 330) -> int | None:
    """A table of which one row can be chosen; gives its place, None where none is.

    Args:
        frame: as `show_table`.
        key: of the widget.
        what_for: what choosing does, as `to open its pattern`.
        height: in pixels; a table of fewer rows is as high as they are.
    """
    fits = len(frame) * ROW_HEIGHT < height
    options = {"height": "content" if fits else height, "on_select": "rerun", "key": key}
    chosen = show_table(frame, selection_mode="single-row", **options).selection.rows
    hint(f"Choose a row {what_for}: by the box before it, or Shift and Space.")
    return chosen[0] if chosen else None


def statuses(counts: dict[str, int]) -> None:
    """How many cells have which status, as badges; the good one first."""
    order = sorted(counts.items(), key=lambda item: (item[0] != "ok", -item[1]))
    with st.container(horizontal=True, gap="small"):
        for status, number in order:
            colour = STATUS_COLOURS.get(status, "gray")
            st.badge(f"{number:,} {literal(status.replace('_', ' '))}", color=colour)  # type: ignore[arg-type]


def told_plainly(show: Callable[[], None]) -> Callable[[], None]:
    """The page, with every expected failure told as its sentence instead of a traceback."""

    @wraps(show)
    def page() -> None:
        try:
            with cached_queries.one_look():
                show()
        except KswatchError as error:
            st.error(literal(error), icon=":material/error:")

    return page
