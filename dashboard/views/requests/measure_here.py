"""A run requested from the page that shows its answer: the button, and the progress in its place."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from kswatch.dashboard.auth import current_user
from kswatch.dashboard.components.panels import hint, note, show_progress_bar
from kswatch.dashboard.data.store import reading_store
from kswatch.dashboard.views.requests.queue import LIVE
from kswatch.dashboard.views.requests.submit import submit
from kswatch.db.queries import basic as queries
from kswatch.db.records import AD_HOC

REFRESH_S = 3.0
MINUTES = 10.0
"""Of a requested run, unless it ends earlier."""


def show_measurement(key: str, label: str, device: str, arguments: Mapping[str, object], why: str) -> None:
    """Draw the request to measure something, or its progress; the page is drawn again at its end.

    Args:
        key: of the widgets.
        label: of the button, as `Measure this layer`.
        device: its UUID.
        arguments: of the run, as the queue stores them.
        why: the reason of the request.
    """
    live = [
        request
        for request in queries.requests(reading_store(), states=LIVE)
        if arguments.items() <= dict(request.arguments).items() and request.device == device
    ]
    if live:
        st.fragment(_progress, run_every=REFRESH_S)(live[0].id)
        return
    if not current_user.get_user().may_act:
        hint("You may read this dashboard but not request a run.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        name = current_user.name_box(f"{key}_who")
        pressed = st.button(label, type="primary", key=f"{key}_measure", icon=":material/timer:")
    if pressed and submit(AD_HOC, device, arguments, name=name, reason=why, budget_s=60 * MINUTES):
        st.rerun()


def _progress(request_id: int) -> None:
    request = queries.request(reading_store(), request_id)
    if request.state not in LIVE:
        st.rerun()
    if request.state == "queued":
        note(f"Request {request.id} is queued; `kswatch serve` runs it in turn, and the answer appears here.")
        return
    show_progress_bar(request.cells_done, request.cells_planned, request.seconds_left)
