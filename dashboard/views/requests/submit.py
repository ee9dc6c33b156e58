"""Sending a request in the visitor's name, within what one request may cost."""

from __future__ import annotations

import os
from collections.abc import Mapping

import streamlit as st

from kswatch.dashboard.auth import current_user as visitor
from kswatch.dashboard.data.store import writing_store
from kswatch.dashboard.formatting.markdown_escape import literal
from kswatch.db.request_queue import requests
from kswatch.db.request_queue.requests import Limits
from kswatch.errors import UsageError

LIMITS = "KSWATCH_DASHBOARD_LIMITS"
"""Cells, minutes and requests an hour, apart by commas, as `kswatch dashboard` found them configured."""


def limits() -> Limits:
    """What one request may cost, and how many one person may make within an hour."""
    told = os.environ.get(LIMITS)
    if not told:
        return Limits()
    cells, minutes, an_hour = told.split(",")
    return Limits(int(cells), float(minutes), int(an_hour))


def send(
    suite: str,
    device: str,
    arguments: Mapping[str, object],
    *,
    who: str,
    why: str,
    cells: int | None = None,
    budget_s: float | None = None,
) -> int | None:
    """Queue a run and give the request's number; None where it was refused, which it has told."""
    try:
        with writing_store() as store:
            return requests.ask(
                store,
                suite,
                device,
                asked_by=visitor.acting_name(who),
                why=why.strip() or None,
                arguments=arguments,
                cells=cells,
                budget_s=budget_s,
                limits=limits(),
            )
    except UsageError as error:
        st.error(literal(error), icon=":material/error:")
        return None
