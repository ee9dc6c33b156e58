"""The CSS rules that Streamlit has no setting for; constant text, nothing from the store."""

from __future__ import annotations

import streamlit as st

RULES = """<style>
[data-testid="stMainBlockContainer"] {
  padding: 4.5rem clamp(0.75rem, 3vw, 2.5rem) 2rem;
}
[data-testid="stMainBlockContainer"] h3 { font-size: 1.3rem; padding: 0.5rem 0 0.45rem; }
[data-testid="stMetricValue"] { font-size: 1.75rem; }
[data-testid="stHtml"] img { max-width: 100%; }
[data-testid="stPlotlyChart"] .modebar-container { opacity: 0.85; }
[data-testid="stPlotlyChart"] .modebar-btn:focus-visible { outline: 2px solid currentColor; }
</style>"""
"""Less empty space above and below a page than Streamlit leaves, and smaller titles."""


def apply() -> None:
    """Add the rules to the page."""
    st.html(RULES)
