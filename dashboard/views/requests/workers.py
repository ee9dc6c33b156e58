"""The table of coordinators and workers, with their last heartbeats."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import streamlit as st

from kswatch.dashboard.components.panels import note, show_table
from kswatch.dashboard.data.store import reading_store
from kswatch.dashboard.formatting.labels import age
from kswatch.db.coordination.workers import WorkerRow, workers

SEEN_WITHIN = timedelta(days=7)
"""Workers without a heartbeat for longer are left out."""

STATES = {"alive": "alive", "stale": "no heartbeat", "stopped": "stopped"}
"""Labels of the states of a worker."""


def recent_workers(now: datetime) -> list[WorkerRow]:
    """Coordinators and workers with a heartbeat within `SEEN_WITHIN`, coordinators first."""
    return workers(reading_store(), seen_since=now - SEEN_WITHIN)


def show_workers() -> None:
    """Draw the number of coordinators and workers by state, and their table."""
    now = datetime.now(UTC)
    known = recent_workers(now)
    if not known:
        note("No coordinator has sent a heartbeat within a week.")
        return
    states = [STATES[worker.state(now)] for worker in known]
    counts = ", ".join(f"{states.count(state)} {state}" for state in STATES.values() if state in states)
    st.markdown("##### Coordinators and workers")
    note(f"{counts}. No heartbeat: none for 90 s, so killed or disconnected.")
    rows = [
        {
            "state": state,
            "role": worker.role,
            "name": worker.name,
            "engine": worker.engine,
            "host": worker.host,
            "device": worker.device_model or worker.device_uuid,
            "run": worker.run_id,
            "last heartbeat": age(worker.heartbeat_at, now),
            "started": age(worker.started_at, now),
        }
        for worker, state in zip(known, states, strict=True)
    ]
    show_table(pd.DataFrame(rows).astype({"run": "Int64"}))


def has_coordinator(now: datetime) -> bool | None:
    """Whether a coordinator is alive; None where none has sent a heartbeat, as older versions do not."""
    states = [worker.state(now) for worker in recent_workers(now) if worker.role == "coordinator"]
    return "alive" in states if states else None
