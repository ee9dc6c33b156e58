"""Overview: what changed last night, on which device, and whether the machines are well."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from kswatch.dashboard.components.filters import SOURCES, Source, choose_problems, tell_empty_store
from kswatch.dashboard.components.panels import finding, hint
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.device_runs import DeviceRuns
from kswatch.dashboard.formatting.labels import count, device_names
from kswatch.dashboard.views.overview import changes
from kswatch.dashboard.views.overview.device_card import show_card
from kswatch.dashboard.views.overview.heuristics_card import show_rules
from kswatch.dashboard.views.overview.missing_data import show_silence
from kswatch.db.queries.basic import DeviceRow, Nights
from kswatch.db.queries.progress_and_news import RunGroup

SPARKLINE_NIGHTS = 90
TOLD_NIGHTS = 2
"""Runs of which more is told than a point of a line: the newest, and the one that it is held against."""


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
    chosen: list[tuple[DeviceRow, Source]] = []
    wanted: list[Nights] = []
    devices = cached_queries.devices()
    names = device_names(devices)
    for device in devices:
        own = [group for group in groups if group.device_id == device.id]
        source = next((one for one in SOURCES if any(one.holds(group) for group in own)), None)
        if source:
            chosen.append((device, source))
            wanted.append(source.nights(device.id, _newest_suite(source, own)))
    newest = cached_queries.ended_runs(tuple(wanted), TOLD_NIGHTS)
    ids = cached_queries.ended_run_ids(tuple(wanted), SPARKLINE_NIGHTS)
    return [
        DeviceRuns(device, names[device.id], source, tuple(own), earlier=tuple(every[: -len(own)]))
        for (device, source), own, every in zip(chosen, newest, ids, strict=True)
    ]


def _newest_suite(source: Source, own: list[RunGroup]) -> str:
    """The suite that was run last."""
    held = [group for group in own if source.holds(group)]
    return max(held, key=lambda group: group.newest_run_id).suite


def _cards(devices: Sequence[DeviceRuns], about: tuple[str, str, str]) -> None:
    columns = st.columns(2) if len(devices) > 1 else [st.container()]
    among = tuple(run_id for one in devices for run_id in one.run_ids)
    for index, shown in enumerate(devices):
        with columns[index % len(columns)], st.container(border=True):
            show_card(shown, about, among)
