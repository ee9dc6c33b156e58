"""The choice of the two runs to compare: directly, by revision of one device, or by device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from kswatch.dashboard.components import timezone, url_state
from kswatch.dashboard.components.panels import finding, hint
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import device_names, revision_label
from kswatch.db.queries.basic import DeviceRow, RunRow

MOST_RUNS = 300
MODES = {"runs": "two runs", "revisions": "two revisions", "devices": "two devices"}
SIDE_WIDTH = 400


@dataclass(frozen=True)
class RunPair:
    """The two runs of a comparison."""

    before: RunRow
    after: RunRow

    @property
    def title(self) -> str:
        """Both runs in one line."""
        return f"Run {run_name(self.before)}, compared with run {run_name(self.after)}."


def run_name(run: RunRow) -> str:
    """A run in one line."""
    return f"{run.id} · {run.device_model} · {run.suite} · {timezone.local(run.started_at)}"


def choose_pair() -> RunPair | None:
    """Draw the boxes and return the chosen runs; without two runs draw the reason and return None."""
    runs = [
        run for run in cached_queries.runs(limit=MOST_RUNS) if run.state != "running" and not run.excluded
    ]
    mode = url_state.segments("Compare", "by", MODES)
    if len(runs) < 2:
        finding("A comparison needs two runs; there is one so far")
        hint("`kswatch nightly` measures again.")
        return None
    return {"runs": _two_runs, "revisions": _two_revisions, "devices": _two_devices}[mode](runs)


def _two_runs(runs: Sequence[RunRow]) -> RunPair | None:
    finished = [run for run in runs if run.state == "finished"]
    newest = finished if len(finished) > 1 else runs
    with st.container(horizontal=True, gap="small"):
        before = url_state.select("Before", "before", runs, _partner(newest), run_name, width=SIDE_WIDTH)
        after = url_state.select("After", "after", runs, newest[0], run_name, width=SIDE_WIDTH)
    return _different(before, after)


def _partner(runs: Sequence[RunRow]) -> RunRow:
    """The run before the newest, of the same device and suite where there is one."""
    same = (run for run in runs[1:] if (run.device_id, run.suite) == (runs[0].device_id, runs[0].suite))
    return next(same, runs[1])


def _different(before: RunRow, after: RunRow) -> RunPair | None:
    if before.id == after.id:
        finding("Both sides are the same run; choose two different ones")
        return None
    return RunPair(before, after)


def _two_revisions(runs: Sequence[RunRow]) -> RunPair | None:
    """Two revisions measured on one device, by the newest run of each."""
    with st.container(horizontal=True, gap="small"):
        device = _device_box("Device", "device", _devices_of(runs), 0)
        newest: dict[str, RunRow] = {}
        for run in runs:
            if run.device_id == device.id and run.revision:
                newest.setdefault(revision_label(run.revision) or "", run)
        if len(newest) < 2:
            finding(f"{device.model} has runs of fewer than two revisions")
            return None
        names = list(newest)
        before = url_state.select("Before", "old", names, names[1], width=SIDE_WIDTH)
        after = url_state.select("After", "new", names, names[0], width=SIDE_WIDTH)
    return _different(newest[before], newest[after])


def _two_devices(runs: Sequence[RunRow]) -> RunPair | None:
    """Two devices, by the newest run of each, of a common suite where there is one."""
    devices = _devices_of(runs)
    if len(devices) < 2:
        finding(f"Only {devices[0].model} has runs in this store")
        return None
    with st.container(horizontal=True, gap="small"):
        first = _device_box("Before", "one", devices, 0)
        second = _device_box("After", "other", devices, 1)
    suites = {run.suite for run in runs if run.device_id == first.id}
    common = suites & {run.suite for run in runs if run.device_id == second.id}
    newest = [
        next(run for run in runs if run.device_id == device.id and (run.suite in common or not common))
        for device in (first, second)
    ]
    return _different(*newest)


def _devices_of(runs: Sequence[RunRow]) -> list[DeviceRow]:
    held = {run.device_id for run in runs}
    return [device for device in cached_queries.devices() if device.id in held]


def _device_box(label: str, name: str, devices: Sequence[DeviceRow], default: int) -> DeviceRow:
    names = device_names(list(devices))
    return url_state.select(
        label,
        name,
        devices,
        devices[default],
        show=lambda device: names[device.id],
        as_text=lambda device: device.uuid,
        width=SIDE_WIDTH - 80,
    )
