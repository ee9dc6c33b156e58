"""Sections of a page that are drawn again on their own when one of their widgets changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

import streamlit as st

from kswatch.dashboard.components import url_state
from kswatch.dashboard.components.panels import show_error
from kswatch.dashboard.data import queries as cached_queries
from kswatch.errors import KswatchError

P = ParamSpec("P")


def show_section(show: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Draw a section as a fragment: a choice in it draws neither the sections above nor those below again.

    With the page, the section is drawn as a part of it. On its own it reads one state of the store, writes
    its choices to the URL, and shows an expected failure as a sentence, as a page does.
    """

    def section() -> None:
        if cached_queries.has_snapshot():
            show(*args, **kwargs)
            return
        try:
            with cached_queries.snapshot(), url_state.one_url():
                show(*args, **kwargs)
        except KswatchError as error:
            show_error(error)

    st.fragment(section)()
