"""Pieces that every page is made of: charts with their data, badges, findings, words for emptiness."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboard.plain_text import literal
from kswatch_errors import KswatchError

BADGES: dict[str, tuple[str, str, str]] = {
    "simulated": ("simulated", ":material/science:", "violet"),
    "imported": ("imported", ":material/download:", "blue"),
}

STATUS_COLOURS = {
    "ok": "green",
    "not_converged": "orange",
    "incorrect": "red",
    "implausible": "red",
    "crashed": "red",
}


def chart(figure: go.Figure, data: pd.DataFrame, name: str, says: str) -> None:
    """A figure, as wide as its place, with its data as CSV and itself as PNG.

    Args:
        figure: drawn in the page's own light or dark colours.
        data: what is drawn, for the download.
        name: of the downloaded files, and the widget's key.
        says: the chart in words, for those who cannot see it.
    """
    config = {
        "displaylogo": False,
        "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
        "toImageButtonOptions": {"format": "png", "filename": name, "scale": 2},
    }
    with st.container(gap=None):
        st.plotly_chart(figure, key=f"chart_{name}", config=config, alt=says)
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


def finding(text: str) -> None:
    """A title that says what is seen; `text` may hold text from the store."""
    st.subheader(literal(text), anchor=False)


def note(text: str) -> None:
    """A line of small print; `text` may hold text from the store."""
    st.caption(literal(text))


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
            show()
        except KswatchError as error:
            st.error(literal(error), icon=":material/error:")

    return page
