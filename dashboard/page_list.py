"""The pages, in the order of the menu. A new page is a file in app_pages/ and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from dashboard import links, page_style
from dashboard.app_pages import (
    alert_list,
    ask_for_run,
    device_health,
    energy,
    heuristic_accuracy,
    overview,
    pattern_depth,
    run_compare,
    run_list,
    speedup,
)
from dashboard.panels import told_plainly


@dataclass(frozen=True)
class PageEntry:
    """One page: where it is reached, how it is called, what draws it."""

    path: str
    title: str
    icon: str
    show: Callable[[], None]


PAGES: tuple[PageEntry, ...] = (
    PageEntry("overview", "Overview", ":material/wb_twilight:", overview.show),
    PageEntry("speedup", "Speedup", ":material/speed:", speedup.show),
    PageEntry("energy", "Energy", ":material/bolt:", energy.show),
    PageEntry("heuristics", "Heuristics", ":material/rule:", heuristic_accuracy.show),
    PageEntry("pattern", "Pattern", ":material/grid_on:", pattern_depth.show),
    PageEntry("compare", "Compare", ":material/compare_arrows:", run_compare.show),
    PageEntry("runs", "Runs", ":material/history:", run_list.show),
    PageEntry("devices", "Devices", ":material/memory:", device_health.show),
    PageEntry("alerts", "Alerts", ":material/notifications:", alert_list.show),
    PageEntry("ask", "Ask for a run", ":material/add_circle:", ask_for_run.show),
)


def navigation(first: str = "overview") -> Any:  # noqa: ANN401  (Streamlit's own page object)
    """The menu; gives the page that the address names, or the one called `first`."""
    pages = {
        entry.path: st.Page(
            told_plainly(entry.show),
            title=entry.title,
            icon=entry.icon,
            url_path=entry.path,
            default=entry.path == first,
        )
        for entry in PAGES
    }
    links.publish(pages)
    page_style.apply()
    return st.navigation(list(pages.values()), position="top")
