"""The two sides of a comparison: chosen as runs, as revisions of one device, or as devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from kswatch.dashboard.components import timezone as viewer
from kswatch.dashboard.components import url_state
from kswatch.dashboard.components.panels import finding, hint
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import device_names
from kswatch.db.queries.basic import DeviceRow, RunRow

MOST_RUNS = 300
WAYS = {"runs": "two runs", "revisions": "two revisions", "devices": "two devices"}
SIDE_WIDTH = 400
SHORT_COMMIT = 9


@dataclass(frozen=True)
class Pair:
    """The two runs that stand for what was chosen."""

    before: RunRow
    after: RunRow

    @property
    def title(self) -> str:
        """Both runs in one line."""
        return f"Run {run_name(self.before)}, against run {run_name(self.after)}."


def run_name(run: RunRow) -> str:
    """A run in one line."""
    return f"{run.id} · {run.device_model} · {run.suite} · {viewer.local(run.started_at)}"


def choose_pair() -> Pair | None:
    """Draw the boxes; None where there are not two sides, which it has told."""
    runs = [
        run for run in cached_queries.runs(limit=MOST_RUNS) if run.state != "running" and not run.excluded
    ]
    way = url_state.segments("Compare", "by", list(WAYS), show=WAYS.__getitem__)
    if len(runs) < 2:
        finding("Two runs are needed; there is one so far")
        hint("`kswatch nightly` measures again.")
        return None
    return {"runs": _two_runs, "revisions": _two_revisions, "devices": _two_devices}[way](runs)


def _two_runs(runs: Sequence[RunRow]) -> Pair | None:
    whole = [run for run in runs if run.state == "finished"]
    newest = whole if len(whole) > 1 else runs
    with st.container(horizontal=True, gap="small"):
        before = _run_box("Before", "before", runs, _partner(newest))
        after = _run_box("After", "after", runs, newest[0])
    return _different(before, after)


def _run_box(label: str, name: str, runs: Sequence[RunRow], default: RunRow) -> RunRow:
    return url_state.select(
        label, name, runs, default, show=run_name, as_text=lambda run: str(run.id), width=SIDE_WIDTH
    )


def _partner(runs: Sequence[RunRow]) -> RunRow:
    """The run before the newest, on the same device and of the same suite where there is one."""
    same = (run for run in runs[1:] if (run.device_id, run.suite) == (runs[0].device_id, runs[0].suite))
    return next(same, runs[1])


def _different(before: RunRow, after: RunRow) -> Pair | None:
    if before.id == after.id:
        finding("Both sides are the same run; choose two different ones")
        return None
    return Pair(before, after)


def _two_revisions(runs: Sequence[RunRow]) -> Pair | None:
    """Two commits that one device measured; the newest run of each stands for it."""
    with st.container(horizontal=True, gap="small"):
        device = _device_box("Device", "device", _devices_of(runs), 0)
        newest: dict[str, RunRow] = {}
        for run in runs:
            if run.device_id == device.id and run.revision:
                newest.setdefault(_revision(run), run)
        if len(newest) < 2:
            finding(f"{device.model} has measured fewer than two revisions")
            return None
        names = list(newest)
        before = url_state.select("Before", "old", names, names[1], width=SIDE_WIDTH)
        after = url_state.select("After", "new", names, names[0], width=SIDE_WIDTH)
    return _different(newest[before], newest[after])


def _revision(run: RunRow) -> str:
    if run.revision is None:
        return ""
    dirty = " dirty" if run.revision.dirty else ""
    return f"{run.revision.commit[:SHORT_COMMIT]}{dirty} {run.revision.subject or ''}".strip()


def _two_devices(runs: Sequence[RunRow]) -> Pair | None:
    """Two devices, by the newest run of each; of one suite where they have one in common."""
    devices = _devices_of(runs)
    if len(devices) < 2:
        finding(f"Only {devices[0].model} has runs in this store")
        return None
    with st.container(horizontal=True, gap="small"):
        one = _device_box("Before", "one", devices, 0)
        other = _device_box("After", "other", devices, 1)
    suites = {run.suite for run in runs if run.device_id == one.id}
    common = suites & {run.suite for run in runs if run.device_id == other.id}
    newest = [
        next(run for run in runs if run.device_id == device.id and (run.suite in common or not common))
        for device in (one, other)
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
