"""Requests: the form of an ad-hoc run, and the queue."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from kswatch.dashboard.auth import current_user
from kswatch.dashboard.components.panels import finding, hint, note, show_error
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.server_settings import request_limits, timing_limits
from kswatch.dashboard.data.store import reading_store
from kswatch.dashboard.formatting.labels import device_names
from kswatch.dashboard.views.requests import queue
from kswatch.dashboard.views.requests.form import (
    AD_HOC,
    SUITES,
    RunRequest,
    cost_text,
    read_batches,
    read_patterns,
)
from kswatch.dashboard.views.requests.submit import submit
from kswatch.db.queries import page_queries
from kswatch.db.records import KNOWN_IMPLEMENTATIONS
from kswatch.errors import UsageError
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, PRECISIONS

OTHER_DEVICE = "another device"
INPUT_MODES = {"typed": "type or paste", "picked": "pick", "chain": "chain"}
DEFAULT_BUDGET_MINUTES = 60


def show() -> None:
    """Draw the page."""
    left, right = st.columns([2, 3], gap="large")
    with left:
        finding("Request a run")
        _form()
    with right:
        queue.show_queue()


def _form() -> None:
    try:
        request = _read_form()
        request.validate(request_limits())
    except UsageError as error:
        request = None
        show_error(error)
    name = current_user.name_box("ask_who")
    reason = st.text_input("Reason", placeholder="for other users", key="ask_why", max_chars=500)
    if request:
        _show_cost(request)
    may_act = current_user.get_user().may_act
    if not may_act:
        hint("You may read this dashboard but not act on it.")
    if (
        st.button("Request this run", type="primary", key="ask", disabled=request is None or not may_act)
        and request
    ):
        _submit(request, name, reason)


def _read_form() -> RunRequest:
    """Draw the boxes and return the request.

    Raises:
        UsageError: a pattern or batch cannot be read.
    """
    device = _choose_device()
    suite = st.selectbox(
        "Suite",
        list(SUITES),
        index=list(SUITES).index(AD_HOC) if st.query_params.get("pattern") else 0,
        format_func=lambda name: SUITES[name],
        key="ask_suite",
        bind="query-params",
    )
    mode, patterns = _choose_patterns(suite)
    left, right = st.columns(2)
    batches = left.text_input(
        "Batch",
        value=st.query_params.get("batch") or "",
        placeholder="as in the suite",
        key="ask_batches",
        bind="query-params",
    )
    with right:
        layouts = _choose_several("layout", LAYOUTS, "both")
    precisions = _choose_several("precision", PRECISIONS, "as in the suite")
    implementations = st.multiselect(
        "Implementations",
        KNOWN_IMPLEMENTATIONS,
        placeholder="all",
        key="ask_implementations",
        bind="query-params",
    )
    minutes, counters, ncu_report = _choose_extent()
    return RunRequest(
        device=device,
        suite=suite,
        patterns=patterns if isinstance(patterns, tuple) else read_patterns(patterns),
        batches=read_batches(batches),
        precisions=precisions,
        layouts=layouts,
        implementations=tuple(implementations),
        counters=counters,
        ncu_report=ncu_report,
        is_chain=mode == "chain",
        budget_minutes=minutes,
    )


def _choose_several(name: str, options: Sequence[str], placeholder: str) -> tuple[str, ...]:
    """Draw a box of several options, with the one that a link to this page names, as a pattern's does."""
    named = [option for option in options if option == st.query_params.get(name)]
    label, key = name.capitalize(), f"ask_{name}s"
    chosen = st.multiselect(
        label, options, default=named, placeholder=placeholder, key=key, bind="query-params"
    )
    return tuple(chosen)


def _choose_extent() -> tuple[int, bool, bool]:
    """Draw the boxes of the time limit, in minutes, of hardware counters, and of ncu's reports."""
    left, right = st.columns(2, vertical_alignment="bottom")
    most = max(int(request_limits().request_minutes), 1)
    default = min(DEFAULT_BUDGET_MINUTES, most)
    minutes = left.number_input(
        "Time limit (minutes)", 1, most, default, key="ask_budget", bind="query-params"
    )
    counters = right.checkbox("Hardware counters (separate pass)", key="ask_counters", bind="query-params")
    ncu_report = st.checkbox(
        "Keep ncu's report of each product of fused (NVIDIA GPUs)", key="ask_ncu_report", bind="query-params"
    )
    return int(minutes), counters, ncu_report


def _choose_patterns(suite: str) -> tuple[str, str | tuple[Pattern, ...]]:
    """Draw the input of patterns; returns its mode, and the text or the patterns themselves."""
    mode = st.segmented_control(
        "Patterns",
        list(INPUT_MODES),
        default="typed",
        required=True,
        format_func=INPUT_MODES.__getitem__,
        key="ask_way",
        bind="query-params",
    )
    if mode == "picked":
        known = [Pattern(*row) for row in page_queries.patterns(reading_store())]
        picked = st.multiselect(
            "Measured patterns",
            known,
            format_func=str,
            key="ask_picked",
            placeholder="none",
            bind="query-params",
        )
        return mode, tuple(picked)
    if mode == "chain":
        hint("Factors of one layer, the right-most first: each takes the output of the one before.")
    empty = "" if suite == AD_HOC else " (empty: the whole suite)"
    text = st.text_area(
        f"Patterns a,b,c,d, one per line{empty}",
        value=st.query_params.get("pattern") or "",
        placeholder="1,192,48,2\n2,48,192,1" if mode == "chain" else "6,64,64,1",
        key="ask_patterns",
        bind="query-params",
        height=90,
    )
    return mode, text


def _choose_device() -> str:
    """Draw the box of devices that were measured, not only imported; returns one, or any other by name."""
    measured = {group.device_id for group in cached_queries.run_groups() if group.origin == "measured"}
    devices = [device for device in cached_queries.devices() if device.id in measured]
    names = device_names(devices)
    known = {device.uuid: names[device.id] for device in devices}
    known.setdefault("cpu", "the CPU of the server")
    options = [*known, OTHER_DEVICE]
    requested = st.query_params.get("device")
    chosen = st.selectbox(
        "Device",
        options,
        index=options.index(requested) if requested in options else 0,
        format_func=lambda uuid: known.get(uuid, uuid),
        key="ask_device",
        bind="query-params",
    )
    if chosen != OTHER_DEVICE:
        return chosen
    typed = st.text_input(
        "Device: cpu, cuda:0, sim:h200, a UUID or a model name",
        key="ask_other_device",
        max_chars=80,
        bind="query-params",
    )
    return typed.strip()


def _show_cost(request: RunRequest) -> None:
    about = (request.suite, request.device, request.arguments(), timing_limits())
    note(cost_text(cached_queries.estimate(*about), request.budget_minutes))


def _submit(request: RunRequest, name: str, reason: str) -> None:
    request_id = submit(
        request.suite,
        request.device,
        request.arguments(),
        name=name,
        reason=reason,
        cells=request.cells,
        budget_s=60.0 * request.budget_minutes if request.budget_minutes else None,
    )
    if request_id is None:
        return
    st.success(
        f"Request {request_id} is queued; `kswatch serve` runs it in turn.",
        icon=":material/schedule:",
    )
