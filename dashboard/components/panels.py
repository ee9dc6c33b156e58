"""The components of every page: charts with their data, tables, badges, titles and empty states."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from math import floor, log10
from statistics import median
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from kswatch.dashboard.components import downloads, timezone, url_state
from kswatch.dashboard.components.dark_figure import in_dark
from kswatch.dashboard.components.figure_timezone import in_zone
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import duration, literal
from kswatch.errors import KswatchError

BADGES: dict[str, tuple[str, str, str]] = {
    "simulated": ("simulated", ":material/science:", "violet"),
    "imported": ("imported", ":material/download:", "blue"),
}

ROW_HEIGHT = 35
"""Pixels of a row of a table."""

QUANTITY = re.compile(r"[+-]?[\d.,]+( to [+-]?[\d.,]+)? ?(%|×|ms|mJ|W|s|min|h.*)|(< )?0\.\d{3}|–")
"""A number with its unit, a range or a p-value as text, which tables align at the right."""

CHANGES = ("change", "largest change", "change low", "change high")
"""Titles of columns of relative changes, which tables show as per cent with a sign and sort as numbers."""

STATUS_COLOURS = {
    "ok": "green",
    "not_converged": "orange",
    "incorrect": "red",
    "implausible": "red",
    "crashed": "red",
}

TITLES: dict[str, str] = {
    "latency_ms": "latency (ms)",
    "latency_low_ms": "low (ms)",
    "latency_high_ms": "high (ms)",
    "sample_count": "samples",
    "sm_clock_mhz": "SM clock (MHz)",
    "event_reasons": "throttle reason",
    "energy_mj": "energy (mJ)",
    "power_w": "power (W)",
    "floor_ratio": "% of roofline",
    "relative_error": "relative error",
    "memory_peak_bytes": "peak memory (bytes)",
    "spill_bytes": "spills (bytes)",
    "shared_bytes": "shared (bytes)",
    "code_hash": "code",
    "energy_reason": "reason for no energy",
    "speedup": "speedup (×)",
    "speedup_low": "low (×)",
    "speedup_high": "high (×)",
    "best_baseline": "best baseline",
    "left_out": "reason left out",
    "between": "95 % interval",
    "p_value": "p",
    "cause": "likely cause",
    "run_id": "run",
    "alert_id": "alert",
    "statement": "rule",
    "majority": "majority rate (%)",
    "accuracy": "accuracy (%)",
    "balanced_accuracy": "balanced accuracy (%)",
    "regret": "mean regret (%)",
    "tp": "correct: fused",
    "fp": "false fused (FP)",
    "fn": "missed fused (FN)",
    "tn": "correct: baseline",
}
"""Titles of the columns that are not titled by their name."""


def chart(
    figure: go.Figure,
    data: pd.DataFrame,
    name: str,
    alt: str,
    on_open: Callable[[str], None] | None = None,
    on_choose: Callable[[str], None] | None = None,
    shown: str = "its night",
) -> None:
    """Draw a figure as wide as its container, with downloads of its data as CSV and of itself as PNG.

    Args:
        figure: with its nights in UTC.
        data: of the figure, for the download and as `_choose_point` needs it.
        name: of the downloaded files and of the widget.
        alt: a description of the chart for screen readers.
        on_open: opens a clicked point on another page; receives the first word of the point's entry in its
            trace's `ids`, which must differ within a trace: Plotly draws only the first of equal ones.
        on_choose: the same, for a click that stays on the page.
        shown: what the page then shows.
    """
    config = {
        "displaylogo": False,
        "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
        "toImageButtonOptions": {"format": "png", "filename": name, "scale": 2},
    }
    key = f"chart_{name}"
    figure = in_zone(figure, timezone.zone_name())
    if st.context.theme.type == "dark":
        figure = in_dark(figure)
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
                _choose_point(data, name, on_open, on_choose)
                st.caption("Click a point to open it." if on_open else f"Click a point to show {shown}.")
    target = clicked(figure, state) if on_open else None
    if on_open and target is not None:
        on_open(target)


def _csv_button(data: pd.DataFrame, name: str) -> None:
    about = downloads.subject()
    st.download_button(
        "CSV",
        data=lambda: downloads.csv(data, about),
        file_name=downloads.file_name(name, about),
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
        st.code(shlex.join(command), language=None)
        if more:
            hint(more)


def show_table(frame: pd.DataFrame, height: int | None = None, **options: Any) -> Any:  # noqa: ANN401  (Streamlit's own options)
    """Draw a table as wide as the page; unknown values are dashes. Texts in it are never markup.

    Args:
        frame: its columns by their titles.
        height: in pixels, of a table that scrolls; a table of fewer rows is as high as they are.
        options: of `st.dataframe`.
    """
    if height is not None:
        options["height"] = "content" if len(frame) * ROW_HEIGHT < height else height
    numbers = {
        name: st.column_config.NumberColumn(format=form) for name, form in number_formats(frame).items()
    }
    texts = {
        name: st.column_config.TextColumn(alignment="right")
        for name in frame.select_dtypes(["object", "str"])
        if (known := frame[name].dropna().tolist())
        and all(isinstance(value, str) and QUANTITY.fullmatch(value) for value in known)
    }
    changes = {name: st.column_config.NumberColumn(format="%+.1f %%") for name in CHANGES if name in numbers}
    frame = frame.assign(**{name: 100 * frame[name] for name in changes})
    columns = numbers | texts | changes | options.pop("column_config", {})
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


def choose_row(
    frame: pd.DataFrame,
    key: str,
    purpose: str,
    height: int = 330,
    **options: Any,  # noqa: ANN401  (Streamlit's own options)
) -> int | None:
    """Draw a table with selectable rows; returns the position of the chosen one, None without one.

    Args:
        frame: as `show_table`.
        key: of the widget.
        purpose: of choosing a row, as `to open its pattern`.
        height: as `show_table`.
        options: of `show_table`.
    """
    table = show_table(frame, height, on_select="rerun", selection_mode="single-row", key=key, **options)
    chosen = table.selection.rows
    hint(f"Choose a row {purpose}: by its check box, or Shift and Space.")
    return chosen[0] if chosen else None


def show_choices(frame: pd.DataFrame, parameter: str, also: Mapping[str, str], **options: Any) -> None:  # noqa: ANN401  (Streamlit's own options)
    """Draw a table whose chosen row becomes a parameter of the URL.

    Args:
        frame: as `show_table`; the first column holds the values of the parameter.
        parameter: its name.
        also: further parameters that a choice sets.
        options: of `show_table`.
    """
    key = f"{parameter}_table"

    def choose() -> None:
        if rows := st.session_state[key].selection.rows:
            for name, value in {parameter: str(frame.iloc[rows[0], 0]), **also}.items():
                url_state.remember(name, value)

    show_table(frame, on_select=choose, selection_mode="single-row", key=key, **options)


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
        downloads.set_subject()
        try:
            with cached_queries.snapshot(), url_state.one_url():
                show()
        except KswatchError as error:
            show_error(error)

    return page


def _choose_point(
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
    names = _point_names(data)
    with fold:
        chosen = st.selectbox(
            "Point",
            list(names),
            index=None,
            format_func=names.__getitem__,
            placeholder="type to find",
            key=key,
            on_change=partial(_open_chosen, key, on_choose) if on_choose else None,
        )
    if on_open and chosen is not None:
        on_open(chosen)


def _open_chosen(key: str, on_choose: Callable[[str], None]) -> None:
    chosen = st.session_state[key]
    if chosen is not None:
        on_choose(chosen)


def _point_names(data: pd.DataFrame) -> dict[str, str]:
    """The label of each point: the newest runs first, problems in the order of the chart."""
    if "run_id" in data:
        runs = data.drop_duplicates("run_id").sort_values("run_id", ascending=False)
        pairs = zip(runs["run_id"], runs["started_at"], strict=True)
        return {str(run): f"run {run}, {timezone.local(started)}" for run, started in pairs}
    problems = data.drop_duplicates("problem")["problem"]
    return {str(label): str(problem) for label, problem in problems.items()}


def show_cells(cells: pd.DataFrame, columns: Sequence[str]) -> None:
    """Draw the table of these columns, without those that hold no value."""
    held = cells[[name for name in columns if cells[name].notna().any()]]
    if "floor_ratio" in held:
        held = held.assign(floor_ratio=held["floor_ratio"] * 100)
    show_table(held.rename(columns=TITLES))
