"""The filters of a page: device, runs, precision, layout and baselines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import pandas as pd
import streamlit as st

from kswatch.dashboard.components import downloads, url_state
from kswatch.dashboard.components.panels import empty_state, note, origin_badge
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.device_runs import SOURCES, DeviceRuns, RunSource
from kswatch.dashboard.formatting.labels import AGAINST, WORDS, device_names
from kswatch.db.interchange.recorded_runs import recorded_files
from kswatch.db.queries.basic import DeviceRow
from kswatch.db.queries.page_queries import RunGroup
from kswatch.db.records import ALL, BASELINE_SETS, EXPERT, PAPER

BOX_WIDTH = 158
"""Pixels: two boxes fit side by side on a phone, six on a desktop."""

NIGHTS = (14, 30, 90, 365)


SET_LABELS: dict[str, str] = {EXPERT: "expert", ALL: "all of torch", PAPER: "the paper’s five"}
"""The sets of baselines in a box."""


class ProblemFilters(TypedDict):
    """The choice of problems and baselines, by the names of the parameters of comparison reads."""

    precision: str
    layout: str
    baselines: str


_ANY_PROBLEM = ProblemFilters(precision="", layout="", baselines=ALL)


@dataclass(frozen=True)
class Scope(DeviceRuns):
    """The choice of the filters; `runs` are those that remain."""

    suite: str
    precision: str
    layout: str
    baselines: str

    @property
    def about(self) -> ProblemFilters:
        """Precision, layout and baselines."""
        return ProblemFilters(precision=self.precision, layout=self.layout, baselines=self.baselines)

    @property
    def title(self) -> str:
        """Device, precision, layout and baselines in one line."""
        where = f"{self.name}, {self.precision}, {WORDS.get(self.layout, self.layout)}"
        return f"{where}, against {AGAINST.get(self.baselines, self.baselines)}"


def choose_scope(problem_filters: bool = True) -> Scope | None:
    """Draw the filters, with or without those of problems, and return the choice.

    Without any ended run draw the empty state and return None.
    """
    groups = cached_queries.run_groups()
    if not groups:
        show_empty_store()
        return None
    with st.container(horizontal=True, gap="small"):
        device, names = _choose_device(groups)
        own = [group for group in groups if group.device_id == device.id]
        source = _choose_source(own)
        suite = _choose_suite([group for group in own if source.holds(group)])
        nights = url_state.select("Nights", "nights", NIGHTS, 90, lambda n: f"last {n}", width=BOX_WIDTH)
        (runs,) = cached_queries.ended_runs((source.nights(device.id, suite),), nights)
        about = choose_problems((runs[-1].id,)) if problem_filters else _ANY_PROBLEM
    _show_source(source)
    scope = Scope(device, names[device.id], source, tuple(runs), suite, **about)
    downloads.set_subject(device=scope.name, run=scope.newest.id, **about)
    return scope


def _show_source(source: RunSource) -> None:
    if source.name == "nightly":
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        origin_badge(source.origin)
        note(f"These are {source.label} runs; headlines and verdicts leave them out by default.")


def show_empty_store() -> None:
    """Draw the empty state of a store without ended runs, with the progress of a first run."""
    running = cached_queries.runs(states=("running",))
    if running:
        run = running[0]
        planned = f" of {run.planned_cells:,}" if run.planned_cells else ""
        note(f"Run {run.id} on {run.device_model} is in progress: {run.cells:,}{planned} cells so far.")
    empty_state(
        "No run has finished in this store yet.",
        ["kswatch", "nightly"],
        f"It measures this machine, with or without a GPU, in a few minutes. {_other_runs()}",
    )


def _other_runs() -> str:
    """The way to runs of other machines."""
    if recorded_files():
        return "`kswatch import --recorded` imports runs on real GPUs that kswatch is shipped with."
    return "`kswatch import FILE` imports measurements from another store."


def _choose_device(groups: list[RunGroup]) -> tuple[DeviceRow, dict[int, str]]:
    """Draw the box of devices with ended runs; the default is the device with the newest run."""
    known = {group.device_id for group in groups}
    devices = [device for device in cached_queries.devices() if device.id in known]
    names = device_names(devices)
    device = url_state.select(
        "Device",
        "device",
        devices,
        default=_preferred(devices, groups),
        show=lambda device: names[device.id] + _mark(device, groups),
        as_text=lambda device: device.uuid,
        width=BOX_WIDTH * 2 + 16,
    )
    return device, names


def _preferred(devices: list[DeviceRow], groups: list[RunGroup]) -> DeviceRow:
    """The device with the newest run of the most preferred source."""
    for source in SOURCES:
        newest = [group for group in groups if source.holds(group)]
        if newest:
            newest_id = max(newest, key=lambda group: group.newest_run_id).device_id
            return next(device for device in devices if device.id == newest_id)
    return devices[0]


def _mark(device: DeviceRow, groups: list[RunGroup]) -> str:
    origins = {group.origin for group in groups if group.device_id == device.id}
    return "" if "measured" in origins else f" ({', '.join(sorted(origins))})"


def _choose_source(own: list[RunGroup]) -> RunSource:
    """Draw the box of run sources where the device has several."""
    sources = [source for source in SOURCES if any(source.holds(group) for group in own)]
    if not sources:
        return RunSource("other", "other", own[0].origin, (own[0].kind,))
    if len(sources) == 1:
        return sources[0]
    return url_state.select(
        "Runs", "runs", sources, show=lambda s: s.label, as_text=lambda s: s.name, width=BOX_WIDTH
    )


def _choose_suite(groups: list[RunGroup]) -> str:
    ordered = sorted(groups, key=lambda group: -group.newest_run_id)
    suites = list(dict.fromkeys(group.suite for group in ordered))
    return suites[0] if len(suites) == 1 else url_state.select("Suite", "suite", suites, width=BOX_WIDTH)


def choose_problems(run_ids: tuple[int, ...]) -> ProblemFilters:
    """Draw the boxes of the precisions, layouts and baselines of these runs."""
    held = cached_queries.summaries(run_ids, baselines=None)
    precisions = sorted(held["precision"].unique(), key=lambda name: (name != "fp32", name)) or ["fp32"]
    layouts = sorted(held["layout"].unique()) or ["batch_first"]
    precision = url_state.select("Precision", "precision", precisions, width=BOX_WIDTH)
    layout = url_state.select(
        "Layout", "layout", layouts, show=lambda name: WORDS.get(name, name), width=BOX_WIDTH
    )
    sets = _sets_of(held)
    baselines = url_state.select(
        "Baselines",
        "baselines",
        sets,
        EXPERT if EXPERT in sets else ALL,
        lambda name: SET_LABELS.get(name, name),
        width=BOX_WIDTH,
    )
    return ProblemFilters(precision=precision, layout=layout, baselines=baselines)


def _sets_of(held: pd.DataFrame) -> list[str]:
    """The sets of baselines to choose from: `expert` only where a run measured rivals."""
    return [name for name in BASELINE_SETS if name != EXPERT or (held["baselines"] == EXPERT).any()]
