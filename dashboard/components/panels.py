"""The components of every page: charts with their data, tables, badges, titles and empty states."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from functools import partial, wraps
from math import floor, log10
from statistics import median
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from kswatch.dashboard.components import point_picker, timezone
from kswatch.dashboard.components.figure_timezone import in_zone
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import duration
from kswatch.dashboard.formatting.markdown_escape import literal
from kswatch.errors import KswatchError

BADGES: dict[str, tuple[str, str, str]] = {
    "simulated": ("simulated", ":material/science:", "violet"),
    "imported": ("imported", ":material/download:", "blue"),
}

ROW_HEIGHT = 35
"""Pixels of a row of a table."""

QUANTITY = re.compile(r"[+-]?[\d.,]+( to [+-]?[\d.,]+)? ?(%|×|ms|mJ|W|s|min|h.*)|(< )?0\.\d{3}|–")
"""A number with its unit, a range or a p-value as text, which tables align at the right."""

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
    alt: str,
    on_open: Callable[[str], None] | None = None,
    on_choose: Callable[[str], None] | None = None,
) -> None:
    """Draw a figure as wide as its container, with downloads of its data as CSV and of itself as PNG.

    Args:
        figure: with its nights in UTC.
        data: of the figure, for the download and as `point_picker.by_name` needs it.
        name: of the downloaded files and of the widget.
        alt: a description of the chart for screen readers.
        on_open: opens a clicked point on another page; receives the first word of the point's entry in its
            trace's `ids`, which must differ within a trace: Plotly draws only the first of equal ones.
        on_choose: the same, for a click that stays on the page.
    """
    config = {
        "displaylogo": False,
        "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
        "toImageButtonOptions": {"format": "png", "filename": name, "scale": 2},
    }
    key = f"chart_{name}"
    figure = in_zone(figure, timezone.zone_name())
    clicks: dict[str, Any] = {}
    if on_open:
        clicks = {"on_select": "rerun", "selection_mode": "points"}
    elif on_choose:
        clicks = {"on_select": partial(_choose, figure, key, on_choose), "selection_mode": "points"}
    with st.container(gap=None):
        state = st.plotly_chart(figure, key=key, config=config, alt=alt, **clicks)
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            _csv_button(data, name)
            if on_open or on_choose:
                point_picker.by_name(data, name, on_open, on_choose)
                st.caption("Click a point to open it." if on_open else "Click a point to show its night.")
    target = clicked(figure, state) if on_open else None
    if on_open and target is not None:
        on_open(target)


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
        help="the data of this chart",
    )


def _choose(figure: go.Figure, key: str, on_choose: Callable[[str], None]) -> None:
    target = clicked(figure, st.session_state[key])
    if target is not None:
        on_choose(target)


def clicked(figure: go.Figure, state: Any) -> str | None:  # noqa: ANN401  (Streamlit's own state)
    """The id of the clicked point of a figure, by its trace's `ids`; None without one."""
    points = state.selection.points if state else []
    if not points:
        return None
    trace = figure.data[points[0]["curve_number"]]
    place = points[0]["point_index"]
    return None if trace.ids is None or place >= len(trace.ids) else str(trace.ids[place]).partition(" ")[0]


def finding(text: str) -> None:
    """Draw a title with the result of a section; `text` may hold text from the store."""
    st.subheader(literal(text), anchor=False)


def note(text: str, on_hover: str | None = None) -> None:
    """Draw a line of small print; both may hold text from the store."""
    st.caption(literal(text), help=None if on_hover is None else literal(on_hover))


def hint(markdown: str) -> None:
    """Draw a line of small print in Markdown, commands in back quotes; never text from the store."""
    st.caption(markdown)


def origin_badge(origin: str) -> None:
    """Draw a badge of the origin; none for measured data."""
    if origin in BADGES:
        label, icon, colour = BADGES[origin]
        st.badge(label, icon=icon, color=colour)  # type: ignore[arg-type]


def empty_state(message: str, command: Sequence[str], more: str = "") -> None:
    """Draw a message about missing data and the exact command that provides them.

    Args:
        message: may hold text from the store.
        command: word by word; shown quoted for a shell.
        more: a hint below the command.
    """
    with st.container(border=True):
        st.markdown(f"**{literal(message)}**")
        st.markdown("Run this, then reload the page:")
        st.code(shlex.join(command), language="bash")
        if more:
            hint(more)


def show_table(frame: pd.DataFrame, **options: Any) -> Any:  # noqa: ANN401  (Streamlit's own options)
    """Draw a table as wide as the page; unknown values are dashes. Texts in it are never markup."""
    numbers = {
        name: st.column_config.NumberColumn(format=form) for name, form in number_formats(frame).items()
    }
    texts = {
        name: st.column_config.TextColumn(alignment="right")
        for name in frame.select_dtypes(["object", "str"])
        if frame[name].notna().any() and all(map(_is_quantity, frame[name].dropna()))
    }
    columns = numbers | texts | options.pop("column_config", {})
    return st.dataframe(frame, hide_index=True, placeholder="–", column_config=columns, **options)


def number_formats(frame: pd.DataFrame) -> dict[str, str]:
    """The formats of float columns: equal decimals within a column, and in columns of one unit."""
    numbers = frame.select_dtypes("float")
    by_unit: dict[str, list[float]] = {}
    for name, values in numbers.items():
        by_unit.setdefault(_unit(str(name)), []).extend(values.dropna().abs())
    return {str(name): _number_format(by_unit[_unit(str(name))]) for name in numbers}


def _unit(title: str) -> str:
    return title.rpartition("(")[2] if title.endswith(")") else title


def _number_format(values: Sequence[float]) -> str:
    """Four digits of the median in decimals, at most six; exponents for smaller numbers."""
    known = [value for value in values if value > 0]
    if all(value.is_integer() for value in known):
        return "%.0f"
    middle = median(known)
    return "%.2e" if middle < 1e-4 else f"%.{min(max(3 - floor(log10(middle)), 0), 6)}f"


def _is_quantity(value: object) -> bool:
    return isinstance(value, str) and QUANTITY.fullmatch(value) is not None


def choose_row(frame: pd.DataFrame, key: str, purpose: str, height: int = 330) -> int | None:
    """Draw a table with selectable rows; returns the position of the chosen one, None without one.

    Args:
        frame: as `show_table`.
        key: of the widget.
        purpose: of choosing a row, as `to open its pattern`.
        height: in pixels, of a table that scrolls; a table of fewer rows is as high as they are.
    """
    fits = len(frame) * ROW_HEIGHT < height
    options = {"height": "content" if fits else height, "on_select": "rerun", "key": key}
    chosen = show_table(frame, selection_mode="single-row", **options).selection.rows
    hint(f"Choose a row {purpose}: by its check box, or Shift and Space.")
    return chosen[0] if chosen else None


def status_badges(counts: dict[str, int]) -> None:
    """Draw the number of cells of each status as badges; `ok` first."""
    order = sorted(counts.items(), key=lambda item: (item[0] != "ok", -item[1]))
    with st.container(horizontal=True, gap="small"):
        for status, number in order:
            colour = STATUS_COLOURS.get(status, "gray")
            st.badge(f"{number:,} {literal(status.replace('_', ' '))}", color=colour)  # type: ignore[arg-type]


def show_reasons(reasons: pd.Series, counted: str) -> None:
    """Draw the table of reasons, the most frequent first.

    Args:
        reasons: one text per problem or cell, missing where there is none.
        counted: the title of the counts, as `problems`.
    """
    wide = st.column_config.TextColumn(width="large")
    counts = reasons.value_counts().rename_axis("reason").reset_index(name=counted)
    show_table(counts, column_config={"reason": wide})


def show_progress_bar(done: int, planned: int | None, seconds_left: float | None) -> None:
    """Draw the measured share of the planned cells, and the time left where it is known."""
    left = f", {duration(seconds_left)} left" if seconds_left is not None else ""
    share = min(done / planned, 1.0) if planned else 0.0
    st.progress(share, text=f"{done:,} of {planned or 'unknown'} cells{left}")


def show_error(error: KswatchError) -> None:
    """Draw an expected failure."""
    st.error(literal(error), icon=":material/error:")


def show_errors(show: Callable[[], None]) -> Callable[[], None]:
    """The page with every expected failure shown as one sentence instead of a traceback."""

    @wraps(show)
    def page() -> None:
        try:
            with cached_queries.snapshot():
                show()
        except KswatchError as error:
            show_error(error)

    return page
