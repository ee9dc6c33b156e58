"""Overview: what changed last night, on which device, and whether the machines are well."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard import cached_queries
from dashboard.app_pages import changes
from dashboard.app_pages.overview_card import show_card
from dashboard.app_pages.overview_rules import show_rules
from dashboard.app_pages.silence import show_silence
from dashboard.device_runs import DeviceRuns
from dashboard.filters import SOURCES, Source, choose_problems, ended_runs, tell_empty_store
from dashboard.naming import count, device_names
from dashboard.panels import finding, hint
from db.page_queries import RunGroup
from db.queries import DeviceRow

SPARKLINE_NIGHTS = 90


def show() -> None:
    """Draw the page."""
    groups = cached_queries.run_groups()
    if not groups:
        tell_empty_store()
        return
    devices = _with_runs(groups)
    here = [one for one in devices if one.source.origin == "measured"]
    elsewhere = [one for one in devices if one.source.origin != "measured"]
    shown = here or elsewhere
    newest = [one.newest for one in shown]
    judged = bool(here) or changes.are_judged(newest)
    if judged:
        finding(changes.headline(newest))
    else:
        finding("Nothing was measured here yet; what is shown came from elsewhere")
        hint("`kswatch nightly` measures this machine, GPU or not, in a few minutes.")
    with st.container(horizontal=True, gap="small"):
        about = choose_problems(tuple(one.newest.id for one in shown))
    _cards(shown, about)
    if judged:
        changes.show_changes(newest)
        show_silence(shown)
    show_rules(shown, about)
    if here and elsewhere:
        with st.expander(f"Also in this store: {count(len(elsewhere), 'device')}, imported or simulated"):
            _cards(elsewhere, about)


def _with_runs(groups: list[RunGroup]) -> list[DeviceRuns]:
    """Devices that have ended runs, each with the most preferred source of them."""
    found = []
    devices = cached_queries.devices()
    names = device_names(devices)
    for device in devices:
        own = [group for group in groups if group.device_id == device.id]
        source = next((one for one in SOURCES if any(one.holds(group) for group in own)), None)
        if source:
            found.append(_with_newest_suite(device, names[device.id], source, own))
    return found


def _with_newest_suite(device: DeviceRow, name: str, source: Source, own: list[RunGroup]) -> DeviceRuns:
    """The last nights of the suite that was run last."""
    held = [group for group in own if source.holds(group)]
    suite = max(held, key=lambda group: group.newest_run_id).suite
    return DeviceRuns(device, name, source, ended_runs(device.id, source, suite, SPARKLINE_NIGHTS))


def _cards(devices: Sequence[DeviceRuns], about: tuple[str, str, str]) -> None:
    columns = st.columns(2) if len(devices) > 1 else [st.container()]
    for index, shown in enumerate(devices):
        with columns[index % len(columns)], st.container(border=True):
            show_card(shown, about)
