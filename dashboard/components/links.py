"""Links between pages, with the choices that the target shows."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from kswatch.db.records import LAYER

_PAGES = "pages_by_path"


def publish(pages: dict[str, Any]) -> None:
    """Register the pages by the last part of their address; the router does so before each page."""
    st.session_state[_PAGES] = pages


def link(path: str, label: str, icon: str | None = None, **choices: object) -> None:
    """A link to another page, opened with these choices."""
    st.page_link(_page(path), label=label, icon=icon, query_params=_texts(choices))


def go_to(path: str, **choices: object) -> None:
    """Switch to another page, opened with these choices."""
    st.switch_page(_page(path), query_params=_texts(choices))


def _page(path: str) -> Any:  # noqa: ANN401  (Streamlit's own page object)
    return st.session_state[_PAGES][path]


def _texts(choices: dict[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in choices.items()}


def open_problem(frame: pd.DataFrame, label: str, **others: object) -> None:
    """Switch to the page of one row's pattern, layer or model.

    Args:
        frame: `pattern`, `batch`, `precision`, `layout`.
        label: of the row in the frame's index, as text.
        others: further choices of the page, such as `device`.
    """
    row = frame.loc[int(label)]
    kind, _, sides = str(row["pattern"]).partition(" ")
    choices = {name: row[name] for name in ("batch", "precision", "layout")}
    if kind == LAYER:
        go_to("layers", layer=sides, **choices, **others)
    elif "," in kind:
        go_to("pattern", pattern=kind, **choices, **others)
    else:
        go_to("models", model=row["pattern"], **choices, **others)


def open_run(run_id: str) -> None:
    """Switch to the page of one run."""
    go_to("runs", view="one", run=run_id)
