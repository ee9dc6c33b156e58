"""The settings that `kswatch dashboard` hands to the server process by its environment."""

from __future__ import annotations

import os
from pathlib import Path

import kswatch
from kswatch.db.config import RequestLimits
from kswatch.services import JudgementLimits

DATABASE_URL = "KSWATCH_DATABASE_URL"
HOSTS = "KSWATCH_DASHBOARD_HOSTS"
REQUEST_LIMITS = "KSWATCH_DASHBOARD_LIMITS"
"""Cells, minutes and requests per hour, separated by commas."""

JUDGEMENT_LIMITS = "KSWATCH_DASHBOARD_JUDGEMENT_LIMITS"


def server_environment(
    url: str, hosts: tuple[str, ...], requests: RequestLimits, judgement: JudgementLimits
) -> dict[str, str]:
    """The environment variables of a server that does not read the configuration itself."""
    folder = str(Path(kswatch.__file__).parents[1])
    return {
        DATABASE_URL: url,
        HOSTS: ",".join(hosts),
        REQUEST_LIMITS: f"{requests.request_cells},{requests.request_minutes},{requests.requests_per_hour}",
        JUDGEMENT_LIMITS: judgement.as_text(),
        "PYTHONPATH": os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")])),
    }


def host_names() -> tuple[str, ...]:
    """The configured names that the dashboard is reached by through a proxy."""
    return tuple(filter(None, os.environ.get(HOSTS, "").split(",")))


def request_limits() -> RequestLimits:
    """The cost limits of one request; the defaults on a server started without `kswatch dashboard`."""
    text = os.environ.get(REQUEST_LIMITS)
    if not text:
        return RequestLimits()
    cells, minutes, per_hour = text.split(",")
    return RequestLimits(int(cells), float(minutes), int(per_hour))


def judgement_limits() -> JudgementLimits:
    """The limits of judging; the defaults on a server started without `kswatch dashboard`."""
    return JudgementLimits.from_text(os.environ.get(JUDGEMENT_LIMITS, ""))
