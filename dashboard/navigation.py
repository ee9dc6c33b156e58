"""The pages, in the order of the menu. A new page is a file in views/ and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from kswatch.dashboard.components import links
from kswatch.dashboard.components.panels import show_errors
from kswatch.dashboard.views import (
    changes_under_review,
    energy,
    layers,
    models,
    regressions,
    runs,
    speedup,
    which_one,
)
from kswatch.dashboard.views.alerts import page as alerts
from kswatch.dashboard.views.compare import page as compare
from kswatch.dashboard.views.devices import page as devices
from kswatch.dashboard.views.heuristics import page as heuristics
from kswatch.dashboard.views.overview import page as overview
from kswatch.dashboard.views.pattern import page as pattern
from kswatch.dashboard.views.requests import page as requests

CSS_RULES = """<style>
[data-testid="stMainBlockContainer"] {
  padding: 4.5rem clamp(0.75rem, 3vw, 2.5rem) 2rem;
}
[data-testid="stMainBlockContainer"] h3 { padding: 0.5rem 0 0.45rem; }
[data-testid="stCaptionContainer"] { color: inherit; opacity: 0.8; }
[data-variant="segmented_control"][aria-checked="true"] p { color: light-dark(#1F56B3, #8DB4F8); }
[data-testid="stHtml"] img { max-width: 100%; }
[data-testid="stPlotlyChart"] .modebar-container { opacity: 0.85; }
[data-testid="stPlotlyChart"] .modebar-btn:focus-visible { outline: 2px solid currentColor; }
</style>"""
"""Less empty space around a page than Streamlit leaves, darker small print; no setting does so."""

DEFECT = "defect"
"""The key of the sentence that stands for an unexpected failure."""


@dataclass(frozen=True)
class PageEntry:
    """One page: its address, title and icon, and the function that draws it."""

    path: str
    title: str
    icon: str
    show: Callable[[], None]


PAGES: tuple[PageEntry, ...] = (
    PageEntry("overview", "Overview", ":material/wb_twilight:", overview.show),
    PageEntry("alerts", "Alerts", ":material/notifications:", alerts.show),
    PageEntry("speedup", "Speedup", ":material/speed:", speedup.show),
    PageEntry("energy", "Energy", ":material/bolt:", energy.show),
    PageEntry("heuristics", "Heuristics", ":material/rule:", heuristics.show),
    PageEntry("pattern", "Pattern", ":material/grid_on:", pattern.show),
    PageEntry("models", "Models", ":material/neurology:", models.show),
    PageEntry("layers", "Layers", ":material/layers:", layers.show),
    PageEntry("which", "Which one?", ":material/help_center:", which_one.show),
    PageEntry("compare", "Compare", ":material/compare_arrows:", compare.show),
    PageEntry("runs", "Runs", ":material/history:", runs.show),
    PageEntry("devices", "Devices", ":material/memory:", devices.show),
    PageEntry("regressions", "Regressions", ":material/trending_down:", regressions.show),
    PageEntry("changes", "Changes under review", ":material/merge:", changes_under_review.show),
    PageEntry("ask", "Request a run", ":material/add_circle:", requests.show),
)


def show_defect(error: Exception) -> bool:
    """Draw a sentence instead of an unexpected failure, which Streamlit has logged (`on_script_error`)."""
    with st.container(key=DEFECT):
        st.error(
            f"This page failed ({type(error).__name__}): a defect, please report it with the server’s output."
            " The other pages are not affected.",
            icon=":material/bug_report:",
        )
    return True


def navigation(first: str = "overview") -> Any:  # noqa: ANN401  (Streamlit's own page object)
    """The menu with the page of the address, or the page `first` by default."""
    pages = {
        entry.path: st.Page(
            show_errors(entry.show),
            title=entry.title,
            icon=entry.icon,
            url_path=entry.path,
            default=entry.path == first,
        )
        for entry in PAGES
    }
    links.publish(pages)
    st.html(CSS_RULES)
    return st.navigation(list(pages.values()), position="top")
