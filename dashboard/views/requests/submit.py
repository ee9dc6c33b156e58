"""Submitting a request in the user's name, within the limits on its cost."""

from __future__ import annotations

from collections.abc import Mapping

from kswatch.dashboard.auth import current_user
from kswatch.dashboard.components.panels import show_error
from kswatch.dashboard.data.server_settings import request_limits, timing_limits
from kswatch.dashboard.data.store import writing_store
from kswatch.db.request_queue import requests
from kswatch.errors import UsageError


def submit(
    suite: str,
    device: str,
    arguments: Mapping[str, object],
    *,
    name: str,
    reason: str,
    cells: int | None = None,
    budget_s: float | None = None,
) -> int | None:
    """Queue a run and return the number of the request; where it is refused show the reason, return None."""
    try:
        with writing_store() as store:
            return requests.submit(
                store,
                suite,
                device,
                asked_by=current_user.acting_name(name),
                why=reason.strip() or None,
                arguments=arguments,
                cells=cells,
                budget_s=budget_s,
                limits=request_limits(),
                timing=timing_limits(),
            )
    except UsageError as error:
        show_error(error)
        return None
