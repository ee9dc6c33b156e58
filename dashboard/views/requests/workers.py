"""Coordinators and workers: who is alive, who fell silent, and what each is doing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import streamlit as st

from kswatch.dashboard.components.panels import note, show_table
from kswatch.dashboard.data.store import reading_store
from kswatch.dashboard.formatting.labels import age
from kswatch.db.coordination.workers import WorkerRow, workers

SEEN_WITHIN = timedelta(days=7)
"""Who gave no sign for longer is history, not news."""


def lately_alive(now: datetime) -> list[WorkerRow]:
    """Everyone who gave a sign of life lately, coordinators first."""
    return workers(reading_store(), seen_since=now - SEEN_WITHIN)


def show_alive() -> None:
    """Draw a line that counts them and a table that names them."""
    now = datetime.now(UTC)
    known = lately_alive(now)
    if not known:
        note("No coordinator has given a sign of life within a week.")
        return
    states = [one.state(now) for one in known]
    counts = ", ".join(
        f"{states.count(state)} {state}" for state in ("alive", "silent", "stopped") if state in states
    )
    st.markdown("##### Coordinators and workers")
    note(f"{counts}. Silent means no sign for 90 s: killed, or cut off.")
    rows = [
        {
            "state": state,
            "role": one.role,
            "name": one.name,
            "engine": one.engine,
            "host": one.host,
            "device": one.device_model or one.device_uuid,
            "run": one.run_id,
            "last sign": age(one.heartbeat_at, now),
            "alive since": age(one.started_at, now),
        }
        for one, state in zip(known, states, strict=True)
    ]
    show_table(pd.DataFrame(rows).astype({"run": "Int64"}))


def someone_serves(now: datetime) -> bool | None:
    """Whether a coordinator is alive; None where none ever said so, as those before workers did."""
    roles = [one.state(now) for one in lately_alive(now) if one.role == "coordinator"]
    return "alive" in roles if roles else None
