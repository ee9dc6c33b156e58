"""Ways from one page to another, with the choices that the target shall show."""

from __future__ import annotations

from typing import Any

import streamlit as st

_PAGES = "pages_by_path"


def publish(pages: dict[str, Any]) -> None:
    """Make the pages known by the last part of their address; the router does so before each page."""
    st.session_state[_PAGES] = pages


def link(path: str, label: str, icon: str | None = None, **choices: object) -> None:
    """A link to another page, opened with these choices."""
    st.page_link(_page(path), label=label, icon=icon, query_params=_texts(choices))


def go_to(path: str, **choices: object) -> None:
    """Leave this page for another one, opened with these choices."""
    st.switch_page(_page(path), query_params=_texts(choices))


def _page(path: str) -> Any:  # noqa: ANN401  (Streamlit's own page object)
    return st.session_state[_PAGES][path]


def _texts(choices: dict[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in choices.items()}
