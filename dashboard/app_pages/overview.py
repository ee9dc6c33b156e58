"""Overview: what changed last night, on which device, and whether the machines are well."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard import cached_queries, url_state
from dashboard.app_pages import changes
from dashboard.app_pages.overview_card import Shown, show_card
from dashboard.app_pages.overview_rules import show_rules
from dashboard.app_pages.silence import show_silence
from dashboard.filters import BOX_WIDTH, SOURCES, Source, ended_runs, tell_empty_store
from dashboard.naming import WORDS, count, device_names
from dashboard.panels import finding, hint
from db.page_queries import RunGroup
from db.queries import DeviceRow
from db.records import BASELINE_SETS

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
    about = _choose_headline(tuple(one.newest.id for one in shown))
    _cards(shown, about)
    if judged:
        changes.show_changes(newest)
        show_silence(shown)
    show_rules(shown, about)
    if here and elsewhere:
        with st.expander(f"Also in this store: {count(len(elsewhere), 'device')}, imported or simulated"):
            _cards(elsewhere, about)


def _with_runs(groups: list[RunGroup]) -> list[Shown]:
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


def _with_newest_suite(device: DeviceRow, name: str, source: Source, own: list[RunGroup]) -> Shown:
    """The last nights of the suite that was run last."""
    held = [group for group in own if source.holds(group)]
    suite = max(held, key=lambda group: group.newest_run_id).suite
    return Shown(device, name, source, ended_runs(device.id, source, suite, SPARKLINE_NIGHTS))


def _choose_headline(newest_run_ids: tuple[int, ...]) -> tuple[str, str, str]:
    """Draw the boxes that say what the headlines are about: precision, layout and baselines."""
    held = cached_queries.problem_kinds(newest_run_ids) or [("fp32", "batch_first")]
    precisions = sorted({precision for precision, _ in held}, key=lambda name: (name != "fp32", name))
    layouts = sorted({layout for _, layout in held})
    with st.container(horizontal=True, gap="small"):
        precision = url_state.select("Precision", "precision", precisions, width=BOX_WIDTH)
        layout = url_state.select(
            "Layout", "layout", layouts, show=lambda name: WORDS.get(name, name), width=BOX_WIDTH
        )
        baselines = url_state.select(
            "Baselines",
            "baselines",
            list(BASELINE_SETS),
            "all",
            lambda name: "all seven" if name == "all" else "the paper’s five",
            width=BOX_WIDTH,
        )
    return precision, layout, baselines


def _cards(devices: Sequence[Shown], about: tuple[str, str, str]) -> None:
    columns = st.columns(2) if len(devices) > 1 else [st.container()]
    for index, shown in enumerate(devices):
        with columns[index % len(columns)], st.container(border=True):
            show_card(shown, about)
