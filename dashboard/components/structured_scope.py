"""The choice of a device whose layers or models were measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from kswatch.dashboard.components import url_state
from kswatch.dashboard.components.filters import BOX_WIDTH
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import device_names
from kswatch.db.queries.structures.cells import StructuredRun

MOST_RUNS = 90
"""The newest runs of a device that are read."""
ORIGINS = ("measured", "imported", "simulated")
"""In order of preference; runs of two origins are never mixed."""


@dataclass(frozen=True)
class StructuredScope:
    """A device and its runs of one origin, the oldest first."""

    uuid: str
    name: str
    origin: str
    run_ids: tuple[int, ...]

    @staticmethod
    def newest_cells(cells: pd.DataFrame) -> pd.DataFrame:
        """The newest measurement of each cell, with a number where any run has one."""
        known = cells.assign(known=cells["latency_ms"].notna()).sort_values(
            ["known", "run_id"], kind="stable"
        )
        return known.drop_duplicates(["problem_id", "implementation"], keep="last").drop(columns="known")


def choose_structured_scope(runs: Sequence[StructuredRun]) -> StructuredScope | None:
    """Draw the box of devices, and of origins where a device has several; None without such runs."""
    held = {run.device_id for run in runs}
    devices = [device for device in cached_queries.devices() if device.id in held]
    if not devices:
        return None
    names = device_names(devices)
    first = min(runs, key=lambda run: (ORIGINS.index(run.origin), -run.id)).device_id
    with st.container(horizontal=True, gap="small"):
        device = url_state.select(
            "Device",
            "device",
            devices,
            default=next(one for one in devices if one.id == first),
            show=lambda one: names[one.id],
            as_text=lambda one: one.uuid,
            width=BOX_WIDTH * 2 + 16,
        )
        own = [run for run in runs if run.device_id == device.id]
        origins = [origin for origin in ORIGINS if any(run.origin == origin for run in own)]
        origin = origins[0]
        if len(origins) > 1:
            origin = url_state.select("Data", "origin", origins, width=BOX_WIDTH)
    ids = [run.id for run in own if run.origin == origin]
    return StructuredScope(device.uuid, names[device.id], origin, tuple(ids[-MOST_RUNS:]))
