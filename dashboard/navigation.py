"""The pages, in the order of the menu. A new page is a file in views/ and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from kswatch.dashboard.components import css as page_style
from kswatch.dashboard.components import links
from kswatch.dashboard.components.panels import told_plainly
from kswatch.dashboard.views import speedup
from kswatch.dashboard.views.alerts import page as alert_list
from kswatch.dashboard.views.compare import page as run_compare
from kswatch.dashboard.views.devices import page as device_health
from kswatch.dashboard.views.energy import page as energy
from kswatch.dashboard.views.heuristics import page as heuristic_accuracy
from kswatch.dashboard.views.overview import page as overview
from kswatch.dashboard.views.pattern import page as pattern_depth
from kswatch.dashboard.views.requests import page as ask_for_run
from kswatch.dashboard.views.runs import page as run_list


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
