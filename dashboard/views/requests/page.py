"""Ask for a run: what to measure now, and how far what was asked for is."""

from __future__ import annotations

import streamlit as st

from kswatch.dashboard.auth import current_user as visitor
from kswatch.dashboard.components.panels import finding, hint, note
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.store import reading_store
from kswatch.dashboard.formatting.labels import device_names
from kswatch.dashboard.formatting.markdown_escape import literal
from kswatch.dashboard.views.requests import queue as request_queue
from kswatch.dashboard.views.requests.form import (
    AD_HOC,
    SUITES,
    Asked,
    cost_text,
    read_batches,
    read_patterns,
)
from kswatch.dashboard.views.requests.submit import limits, send
from kswatch.db.queries import progress_and_news as page_queries
from kswatch.db.records import IMPLEMENTATIONS
from kswatch.db.request_queue import requests
from kswatch.errors import UsageError
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, PRECISIONS

OTHER_DEVICE = "another device"
WAYS = {"typed": "typed or pasted", "picked": "picked", "chain": "a chain"}
DEFAULT_BUDGET_MINUTES = 60


def show() -> None:
    """Draw the page."""
    left, right = st.columns([2, 3], gap="large")
    with left:
        finding("Measure this now")
        _form()
    with right:
        request_queue.show_queue()


def _form() -> None:
    try:
        asked = _asked()
        asked.refuse_nonsense(limits())
    except UsageError as error:
        asked = None
        st.error(literal(error), icon=":material/error:")
    who = visitor.name_box("ask_who", "Who asks")
    why = st.text_input("Why", placeholder="so that others know", key="ask_why", max_chars=500)
    if asked:
        _tell_cost(asked)
    may_act = visitor.visitor().may_act
    if not may_act:
        hint("You may read this dashboard but not act on it.")
    if (
        st.button("Ask for this run", type="primary", key="ask", disabled=asked is None or not may_act)
        and asked
    ):
        _ask(asked, who, why)


def _asked() -> Asked:
    """Draw the boxes and give what they say.

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
    way, patterns = _choose_patterns(suite)
    left, right = st.columns(2)
    batches = left.text_input(
        "Batch",
        value=st.query_params.get("batch") or "",
        placeholder="the suite’s",
        key="ask_batches",
        bind="query-params",
    )
    layouts = right.multiselect("Layout", LAYOUTS, placeholder="both", key="ask_layouts", bind="query-params")
    precisions = st.multiselect(
        "Precision", PRECISIONS, placeholder="the suite’s", key="ask_precisions", bind="query-params"
    )
    implementations = st.multiselect(
        "Implementations", IMPLEMENTATIONS, placeholder="all", key="ask_implementations", bind="query-params"
    )
    minutes, counters = _choose_extent()
    return Asked(
        device=device,
        suite=suite,
        patterns=patterns if isinstance(patterns, tuple) else read_patterns(patterns),
        batches=read_batches(batches),
        precisions=tuple(precisions),
        layouts=tuple(layouts),
        implementations=tuple(implementations),
        counters=counters,
        is_chain=way == "chain",
        budget_minutes=minutes,
    )


def _choose_extent() -> tuple[int, bool]:
    """Draw the boxes of the longest time, in minutes, and of whether counters are read too."""
    left, right = st.columns(2, vertical_alignment="bottom")
    most = max(int(limits().minutes), 1)
    default = min(DEFAULT_BUDGET_MINUTES, most)
    minutes = left.number_input("At most (minutes)", 1, most, default, key="ask_budget", bind="query-params")
    counters = right.checkbox(
        "Hardware counters, in a pass of their own", key="ask_counters", bind="query-params"
    )
    return int(minutes), counters


def _choose_patterns(suite: str) -> tuple[str, str | tuple[Pattern, ...]]:
    """Draw the ways to name patterns; gives the way, and the text or the patterns themselves."""
    chosen = st.segmented_control(
        "Patterns",
        list(WAYS),
        default="typed",
        format_func=WAYS.__getitem__,
        key="ask_way",
        bind="query-params",
    )
    way = chosen or "typed"
    if way == "picked":
        known = [Pattern(*row) for row in page_queries.patterns(reading_store())]
        picked = st.multiselect(
            "Patterns that were measured before",
            known,
            format_func=str,
            key="ask_picked",
            placeholder="none",
            bind="query-params",
        )
        return way, tuple(picked)
    if way == "chain":
        hint("Factors of one layer, the right-most first: each takes as many features as the last one gives.")
    empty = "" if suite == AD_HOC else " (empty: all of the suite)"
    text = st.text_area(
        f"Patterns a,b,c,d, one a line{empty}",
        value=st.query_params.get("pattern") or "",
        placeholder="1,192,48,2\n2,48,192,1" if way == "chain" else "6,64,64,1",
        key="ask_patterns",
        bind="query-params",
        height=90,
    )
    return way, text


def _choose_device() -> str:
    """The device as the asker names it: one that the store knows, or any other by name."""
    devices = [device for device in cached_queries.devices() if not device.simulated]
    names = device_names(devices)
    known = {device.uuid: names[device.id] for device in devices}
    known.setdefault("cpu", "the CPU of the machine that serves")
    options = [*known, OTHER_DEVICE]
    wanted = st.query_params.get("device")
    chosen = st.selectbox(
        "Device",
        options,
        index=options.index(wanted) if wanted in options else 0,
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


def _tell_cost(asked: Asked) -> None:
    store = reading_store()
    cells = asked.cells
    narrowed = False
    if cells is None:
        cells = page_queries.newest_plan(store, asked.suite)
        narrowed = bool(asked.patterns or asked.batches or asked.precisions or asked.layouts)
    seconds = requests.estimated_seconds(store, asked.device, cells)
    told = cost_text(cells, seconds / 60 if seconds is not None else None, asked.budget_minutes)
    note(("At most: " if narrowed and cells else "") + told)


def _ask(asked: Asked, who: str, why: str) -> None:
    request_id = send(
        asked.suite,
        asked.device,
        asked.arguments(),
        who=who,
        why=why,
        cells=asked.cells,
        budget_s=60.0 * asked.budget_minutes if asked.budget_minutes else None,
    )
    if request_id is None:
        return
    st.success(
        f"Request {request_id} is queued; `kswatch serve` takes it when its turn comes.",
        icon=":material/schedule:",
    )
