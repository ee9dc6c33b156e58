"""Ask for a run: what to measure now, and how far what was asked for is."""

from __future__ import annotations

import getpass

import streamlit as st

from dashboard import cached_queries
from dashboard.app_pages import request_queue
from dashboard.app_pages.asking import AD_HOC, SUITES, Asked, expected_minutes, read_batches, read_patterns
from dashboard.connection import writing_store
from dashboard.naming import count, device_names
from dashboard.panels import finding, note
from dashboard.plain_text import literal
from db import requests
from db.records import IMPLEMENTATIONS
from kernels.problem import LAYOUTS, PRECISIONS
from kswatch_errors import UsageError

OTHER_DEVICE = "another device"


def show() -> None:
    """Draw the page."""
    left, right = st.columns([2, 3], gap="large")
    with left:
        finding("Measure this now")
        _form()
    with right:
        request_queue.show_queue()


def _form() -> None:
    device = _choose_device()
    suite = st.selectbox(
        "Suite",
        list(SUITES),
        index=list(SUITES).index(AD_HOC) if st.query_params.get("pattern") else 0,
        format_func=lambda name: SUITES[name],
        key="ask_suite",
    )
    patterns = st.text_area(
        "Patterns a,b,c,d, one a line" + ("" if suite == AD_HOC else " (empty: all of the suite)"),
        value=st.query_params.get("pattern") or "",
        placeholder="6,64,64,1",
        key="ask_patterns",
        height=90,
    )
    left, right = st.columns(2)
    batches = left.text_input(
        "Batch", value=st.query_params.get("batch") or "", placeholder="the suite’s", key="ask_batches"
    )
    layouts = right.multiselect("Layout", LAYOUTS, placeholder="both", key="ask_layouts")
    precisions = st.multiselect("Precision", PRECISIONS, placeholder="the suite’s", key="ask_precisions")
    implementations = st.multiselect(
        "Implementations", IMPLEMENTATIONS, placeholder="all", key="ask_implementations"
    )
    who = st.text_input("Who asks", value=_user(), key="ask_who", max_chars=120)
    why = st.text_input("Why", placeholder="so that others know", key="ask_why", max_chars=500)
    try:
        asked = Asked(
            device=device,
            suite=suite,
            patterns=read_patterns(patterns),
            batches=read_batches(batches),
            precisions=tuple(precisions),
            layouts=tuple(layouts),
            implementations=tuple(implementations),
        )
        asked.refuse_nonsense()
    except UsageError as error:
        st.error(literal(error), icon=":material/error:")
        st.button("Ask for this run", disabled=True, key="ask")
        return
    _tell_cost(asked)
    if st.button("Ask for this run", type="primary", key="ask"):
        _ask(asked, who, why)


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
    )
    if chosen != OTHER_DEVICE:
        return chosen
    return st.text_input("Device: cpu, cuda:0, a UUID or a model name", key="ask_other_device").strip()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name behind this user id
        return ""


def _tell_cost(asked: Asked) -> None:
    cells = asked.cells
    if cells is None:
        note("What a whole suite costs, the running request tells as it goes.")
        return
    minutes = expected_minutes(asked)
    cost = f", about {minutes:.1f} minutes by what a cell took there before" if minutes else ""
    note(f"{count(cells, 'cell')}{cost}.")


def _ask(asked: Asked, who: str, why: str) -> None:
    if not who.strip():
        st.error("Say who asks; the request carries your name.")
        return
    with writing_store() as store:
        request_id = requests.ask(
            store,
            asked.suite,
            asked.device,
            asked_by=who.strip(),
            why=why.strip() or None,
            arguments=asked.arguments(),
        )
    st.success(
        f"Request {request_id} is queued; `kswatch serve` takes it when its turn comes.",
        icon=":material/schedule:",
    )
